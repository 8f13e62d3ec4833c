"""The subtitles of one dub: laid out from its segments, written as files, and the form of them that is shown.

The film, its early preview and the previews of its parts all ask here, so that a cue looks the same in each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.pipeline import Subtitles as Mode
from configs.pipeline import SubtitleSettings
from models.segment import Segment
from serve_app.cues import Cue
from serve_app.jobs.workspace import Artifacts
from serve_app.media.ass import Look
from serve_app.media.probe import Source
from serve_app.stages.subtitle import Subtitles, subtitle, write


@dataclass(frozen=True, slots=True)
class Captions:
    """From `language` into `target`; `fonts` is a folder with more fonts than the machine has."""

    source: Source
    language: str
    target: str
    mode: Mode
    rules: SubtitleSettings
    fonts: Path | None

    def tracks(self, segments: Sequence[Segment], duration: float) -> Subtitles:
        """The cues of the first `duration` seconds of the film."""
        return subtitle(
            [segment for segment in segments if "skip" not in segment.edited],
            source_lang=self.language,
            target_lang=self.target,
            duration=duration,
            frame_rate=self.source.frame_rate,
            settings=self.rules,
        )

    def write(self, segments: Sequence[Segment], files: Artifacts) -> tuple[str, ...]:
        """Writes the subtitle files of the whole film; returns which rules they could not keep, in words."""
        tracks = self.tracks(segments, self.source.duration)
        if not files.original_srt.exists():  # the first target's is everybody's
            write(tracks.original, files.original_srt, self.look(self.language))
        write(tracks.translated, files.translated_srt, self.look(self.target))
        write(tracks.bilingual, files.bilingual_srt, self.look(self.target))
        return tracks.unmet

    def beginning(self, segments: Sequence[Segment], seconds: float, out: Path) -> Path:
        """Writes those of the first seconds alone to `out`; returns the file to show over them."""
        write(self.cues(segments, seconds), out, self.look(self.target))
        return self._form(out)

    def cues(self, segments: Sequence[Segment], duration: float) -> tuple[Cue, ...]:
        """Those of the track that is shown."""
        tracks = self.tracks(segments, duration)
        return tracks.bilingual if self.rules.show == "bilingual" else tracks.translated

    def shown(self, files: Artifacts) -> Path:
        """The file that is drawn into the picture, or laid beside it."""
        return self._form(files.bilingual_srt if self.rules.show == "bilingual" else files.translated_srt)

    def _form(self, subtitles: Path) -> Path:
        return subtitles.with_suffix(".ass") if self.mode == "burn" else subtitles

    def look(self, language: str) -> Look:
        return Look(self.rules.style, self.source.width, self.source.height, language, self.fonts)
