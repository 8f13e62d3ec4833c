"""Room 7, subtitle_generation: segments become the original, the translated and the bilingual track.

The original follows its words as they were heard; the translation follows the placed speech, by the share of its
characters. How cues are cut and timed is in `serve_app.cues`; here is what is shown when, and the files. What they look
like in ASS is in `media.ass`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from pathlib import Path

from configs.pipeline import SubtitleSettings
from models.segment import Segment
from serve_app.cues import Cue, Item, Layout, Text
from serve_app.media.ass import Look, ass
from serve_app.media.ffmpeg import whole
from serve_app.phrases import tokenize

FRAME_RATE = 25.0  # assumed for the gap between cues when there is no video


@dataclass(frozen=True, slots=True)
class Subtitles:
    """Three tracks, ascending and without overlap, and one sentence for each rule that a cue could not keep."""

    original: tuple[Cue, ...]
    translated: tuple[Cue, ...]
    bilingual: tuple[Cue, ...]
    unmet: tuple[str, ...] = ()


def subtitle(
    segments: Iterable[Segment],
    *,
    source_lang: str,
    target_lang: str,
    duration: float,
    frame_rate: float,
    settings: SubtitleSettings,
) -> Subtitles:
    """Original, translated and bilingual cues of `segments`; `duration` in seconds bounds them all."""
    segments = [s for s in segments if s.text.strip()]
    layout = Layout(settings, floor(duration * 1000), ceil(1000 * settings.gap_frames / (frame_rate or FRAME_RATE)))
    originals, translations, both = [], [], []
    for segment in segments:
        heard = _original(segment, source_lang)
        shown = _translated(segment, source_lang, target_lang)
        originals.append(heard)
        if shown:
            translations.append(shown)
            both.append(replace(shown, texts=(*heard.texts, *shown.texts)))
    tracks = layout.cues(originals), layout.cues(translations), layout.cues(both)
    unmet = layout.complaints(tracks[0], source_lang) + layout.complaints(tracks[1], target_lang)
    return Subtitles(*tracks, unmet=(*unmet, *layout.complaints(tracks[2], target_lang, above=source_lang)))


def write(cues: Sequence[Cue], path: Path, look: Look) -> None:
    """Writes `cues` as SRT to `path`, as WebVTT and ASS beside it (.vtt, .ass), each file whole or not at all."""
    _write(path, srt(cues))
    _write(path.with_suffix(".vtt"), vtt(cues))
    _write(path.with_suffix(".ass"), ass(cues, look))


def srt(cues: Sequence[Cue]) -> str:
    return "".join(f"{n}\n{_srt(cue)}\n\n" for n, cue in enumerate(cues, 1))


def vtt(cues: Sequence[Cue]) -> str:
    return "WEBVTT\n\n" + "".join(f"{_vtt(cue)}\n\n" for cue in cues)


# -- what is shown when -----------------------------------------------------------------------------------------------


def _original(segment: Segment, language: str) -> Item:
    start, end = round(segment.start * 1000), round(segment.end * 1000)
    tokens = tokenize(segment.text, language)
    size = sum(map(len, tokens))
    sizes = [len("".join(word.text.split())) for word in segment.words]
    if sum(sizes) != size:  # no words, or a text that was edited after they were heard
        return Item(start, end, (Text(tokens, ((0, size, start, end),), language),))
    heard, at = [], 0
    for word, length in zip(segment.words, sizes, strict=True):
        heard.append((at, at + length, word.start * 1000, word.end * 1000))
        at += length
    return Item(start, end, (Text(tokens, tuple(heard), language),))


def _translated(segment: Segment, source: str, target: str) -> Item | None:
    text = segment.translation or (segment.text if source == target else "")
    if not text.strip():
        return None
    start, end = segment.start, segment.end
    if segment.place is not None and segment.spoken:
        start = segment.place
        end = start + segment.spoken / (segment.tempo or 1.0)
    tokens = tokenize(text, target)
    first, last = round(start * 1000), round(end * 1000)
    return Item(first, last, (Text(tokens, ((0, sum(map(len, tokens)), first, last),), target),))


# -- the files ---------------------------------------------------------------------------------------------------------


def _srt(cue: Cue) -> str:
    times = f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
    return "\n".join((times, *(line.replace("-->", "→") for line in cue.lines)))


def _vtt(cue: Cue) -> str:
    times = f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}"
    escaped = (line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in cue.lines)
    return "\n".join((times, *escaped))


def _clock(seconds: float, mark: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}{mark}{ms % 1000:03}"


def _write(path: Path, text: str) -> None:
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")
