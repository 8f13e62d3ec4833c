"""Settings of the eight rooms, one class each, and the order in which the wire names them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from configs.base import Settings

STAGES = (
    "initialization",
    "audio_extraction",
    "transcription",
    "translation",
    "tts",
    "audio_sync",
    "subtitle_generation",
    "video_combination",
)
"""The eight stages as the wire names them, in order."""

LANGUAGES = ("en", "hy", "ru", "es", "fr", "de", "it", "pt", "zh", "ja")
"""ISO-639-1 codes of the languages between which the product translates."""

Subtitles = Literal["burn", "soft", "none"]


Pair = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(LANGUAGES)})-({'|'.join(LANGUAGES)})$")]
Term = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class PrepareSettings(Settings):
    containers: tuple[str, ...] = Field(
        ("mov", "mp4", "matroska", "webm", "avi", "asf", "flv", "mp3", "wav", "flac", "ogg"),
        description="demuxer names (libavformat) that are opened at all",
    )
    max_duration_s: float = Field(15 * 3600, gt=0)
    max_bytes: int = Field(100 * 1024**3, gt=0)
    max_streams: int = Field(64, gt=0)
    max_pixels: int = Field(8192 * 4320, gt=0)
    look_s: float = Field(600.0, gt=0, description="a file that takes longer to look into is refused")
    audio_track: int = Field(
        0, ge=0, description="of several, counted from 1; 0: the one in the film's language, else the default one"
    )
    disk_factor: float = Field(3.0, ge=1, description="free disk must be this many times the input")
    min_free_bytes: int = Field(512 * 1024**2, ge=0)


class ExtractSettings(Settings):
    tries: int = Field(3, ge=1)
    backoff_s: float = Field(0.5, ge=0)


class WindowSettings(Settings):
    """Speech is cut at its longest pauses into windows that flow through the rooms on their own."""

    min_s: float = Field(20.0, gt=0)
    max_s: float = Field(60.0, gt=0)
    first_s: float = Field(
        20.0, gt=0, description="the first is this long at most and half as long at least: the early preview awaits it"
    )
    at_once: int = Field(3, ge=1, description="windows of one job under way at the same time")


class RecognizeSettings(Settings):
    clip_s: float = Field(
        20.0,
        gt=1,
        le=30,
        description="speech is packed into clips of up to this length: shorter ones decode side by side",
    )
    max_clip_s: float = Field(29.0, gt=1, le=30, description="speech without a pause stays whole up to this length")
    min_segment_s: float = Field(1.0, gt=0)
    max_segment_s: float = Field(12.0, gt=1)
    max_pause_s: float = Field(1.0, gt=0, description="a pause this long always ends a segment")
    language_windows: int = Field(3, ge=1, description="clips of speech that vote on the language, at least")
    language_every_s: float = Field(300.0, gt=0, description="of speech: one more vote for each")
    max_language_windows: int = Field(12, ge=1)
    mismatch_probability: float = Field(0.8, ge=0, le=1, description="above it, speech overrules the language given")
    languages: Literal["one", "many"] = Field(
        "many", description="many: a recording whose votes differ is heard again, each part in its own language"
    )
    min_language_s: float = Field(4.0, ge=0, description="less speech than this in another language is a mishearing")
    told_probability: float = Field(
        0.5, ge=0, le=1, description="share of the vote below which nobody can tell a language that was not given"
    )
    near_s: float = Field(0.3, ge=0, description="a word that is farther from any speech was not said")
    hole_s: float = Field(1.0, gt=0, description="speech of this length in which no word lies is heard once more")
    hole_probability: float = Field(0.3, ge=0, le=1, description="of the words that may fill it, at least, on average")


class TranslateSettings(Settings):
    max_tempo: float = Field(1.2, ge=1, description="estimated speech that needs more takes a shorter candidate")
    max_length_ratio: float = Field(2.5, gt=1)
    max_repeats: int = Field(3, ge=1, description="the same word this many times in a row is a loop")
    alternatives: int = Field(3, ge=0, description="other translations that a segment keeps, at most")
    glossary: dict[Pair, dict[Term, Term]] = Field(
        default_factory=dict,
        description="by pair, {en-es: {graphics card: tarjeta gráfica}}; terms in small letters are found in any case",
    )


class SpeakSettings(Settings):
    at_once: int = Field(2, ge=1)
    lufs: float = Field(-23.0, le=0)
    peak_db: float = Field(-1.0, le=0)
    max_rate: float = Field(1.25, ge=1, description="a voice speaks so much faster than of its own accord, at most")
    min_rate: float = Field(0.8, gt=0, le=1, description="and so much slower, where its original takes longer")
    close_s: float = Field(0.15, gt=0, description="a clip this near to the length of its original is not asked again")
    asks: int = Field(3, ge=1, description="clips of one text, at most, until one is near enough")
    shorter: int = Field(2, ge=0, description="shorter translations that are tried where no rate is enough, at most")
    silence_db: float = Field(-45.0, lt=0, description="quieter edges are trimmed")


class SyncSettings(Settings):
    start_slack_s: float = Field(0.15, ge=0)
    keep_pause_s: float = Field(0.08, ge=0)
    min_tempo: float = Field(0.95, gt=0, le=1)
    natural_tempo: float = Field(1.2, ge=1)
    max_tempo: float = Field(1.35, ge=1)
    fade_s: float = Field(0.02, ge=0)
    end_slack_s: float = Field(0.2, ge=0)


Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")]


class SubtitleStyle(Settings):
    """How subtitles look: those drawn into the picture, and the ASS files. Lengths are percent of its height."""

    font: str = Field("DejaVu Sans", description="a family; characters that it lacks come from one that has them")
    size: float = Field(5.6, gt=0, le=50, description="in upright pictures less, so that a line fits")
    bold: bool = False
    colour: Colour = "#FFFFFF"
    outline_colour: Colour = "#000000"
    outline: float = Field(0.35, ge=0, le=10)
    box: bool = Field(False, description="a box behind the lines, in place of an outline")
    box_colour: Colour = "#000000"
    box_opacity: float = Field(0.6, ge=0, le=1)
    position: Literal["bottom", "middle", "top"] = "bottom"
    margin: float = Field(4.9, ge=0, le=45, description="from the edge")


class SubtitleSettings(Settings):
    show: Literal["translated", "bilingual"] = Field(
        "translated", description="what is drawn into the pictures, or laid beside them; files there are of either"
    )
    style: SubtitleStyle = SubtitleStyle()
    line_chars: dict[str, int] = Field(default_factory=lambda: {"default": 42, "zh": 16, "ja": 13})
    max_lines: int = Field(2, ge=1)
    max_cps: float = Field(17.0, gt=0)
    min_s: float = Field(1.0, gt=0)
    max_s: float = Field(7.0, gt=0)
    gap_frames: int = Field(2, ge=0)


class MuxSettings(Settings):
    subtitles: Subtitles = "burn"
    sample_rate: int = 48_000
    lufs: float = Field(-23.0, le=0)
    peak_db: float = Field(-1.0, le=0)
    duck_fade_s: float = Field(0.12, gt=0)
    music: float = Field(
        0.3, ge=0, le=1, description="of the music's level stays under the dub, with a model for engines.separation"
    )
    encoder: Literal["auto", "libx264", "h264_nvenc"] = Field("auto", description="auto: NVENC where it works")
    x264_preset: str = "veryfast"
    crf: int = Field(20, ge=0, le=51)
    audio_bitrate: str = "160k"
    keep_audio: bool = Field(False, description="the audio tracks that are not dubbed stay, behind the dubbed one")
    fonts: Path | None = Field(
        None, description="a folder with more fonts for burnt subtitles, looked into before those of the system"
    )


class PreviewSettings(Settings):
    """What is shown while the job is still running: the beginning of the film early, then all of it part by part."""

    enabled: bool = True
    seconds: float = Field(30.0, gt=0, description="the most that it shows")
    min_s: float = Field(10.0, gt=0, description="the least; a film that is not twice as long gets none")
    share: float = Field(1 / 6, gt=0, le=1, description="of the film, between these two")
    tail_s: float = Field(0.2, ge=0, description="after the last sentence in it")
    segments: bool = Field(True, description="previews of the parts of the film, as they become ready")
    segment_s: float = Field(30.0, ge=5, description="of each; a film that is not twice as long has none")
    short_s: float = Field(120.0, ge=0, description="of a shorter film none is begun once all of it is dubbed")
    segment_height: int = Field(360, ge=64, le=2160, description="of their picture")
    most_segments: int = Field(120, ge=0, description="of one film; later parts have none")


class QualitySettings(Settings):
    """What a dub should reach. Shares are percent; what falls short is in the report, whatever becomes of the job."""

    on_failure: Literal["warn", "fail"] = Field(
        "warn", description="a dub below these bounds is completed with warnings, or a failed job with its report alone"
    )
    min_spoken: float = Field(95.0, ge=0, le=100, description="of the sentences to be dubbed, that a voice said")
    min_coverage: float = Field(80.0, ge=0, le=100, description="of the speech that was detected, that became text")
    min_translation: float = Field(60.0, ge=0, le=100, description="of the sentences, whose text passes every check")
    min_lip_sync: float = Field(50.0, ge=0, le=100, description="of the sentences, that start and end in time")
    min_voice: float = Field(
        50.0,
        ge=0,
        le=100,
        description="of the sentences, that are spoken at a natural tempo; half of it at a wrong loudness or peak",
    )
    min_tempo: float = Field(
        90.0, ge=0, le=100, description="of the sentences that are spoken, no faster than sync.max_tempo"
    )
    min_understood: float = Field(60.0, ge=0, le=100, description="of the words, with the back-check")
    back_check: bool = Field(
        False, description="the recogniser listens to each clip of the dub, where it hears the target's language"
    )
    min_match: float = Field(
        0.5, ge=0, le=1, description="of its words are recognised in a clip, or it is said by another engine"
    )


class PipelineSettings(Settings):
    stall_s: float = Field(120.0, gt=0, description="a child process without progress for so long is ended")
    engine_stall_s: float = Field(
        600.0, gt=0, description="an engine that gave none of a job's calls an answer for so long is taken for stuck"
    )
    prepare: PrepareSettings = PrepareSettings()
    extract: ExtractSettings = ExtractSettings()
    windows: WindowSettings = WindowSettings()
    recognize: RecognizeSettings = RecognizeSettings()
    translate: TranslateSettings = TranslateSettings()
    speak: SpeakSettings = SpeakSettings()
    sync: SyncSettings = SyncSettings()
    subtitle: SubtitleSettings = SubtitleSettings()
    mux: MuxSettings = MuxSettings()
    preview: PreviewSettings = PreviewSettings()
    quality: QualitySettings = QualitySettings()
