"""A transcript that came with the job, SRT or WebVTT: who wrote it knows better than a recogniser what is said.

Its cues become the segments, one each: their times and speakers (WebVTT's `<v Name>`) are kept, marks of style and of
dialogue are taken out, and what describes a sound instead of being said ("[door slams]", "♪ la la ♪", a cue that is
nothing but "(applause)") is left out. Captions that roll up, as video platforms make them by machine, show a line two
or three times; it is said once. Two cues at the same time, which a dub cannot speak, share it. The parser is webvtt-py;
it skips what it cannot read, so the lines of times are looked at and put into its form here first: a hole in a dub is
found too late.

What it does not do: join a sentence that was spread over two cues. Its halves are translated apart.
"""

import html
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.errors import UnreadableTranscript
from models.segment import Segment, Span
from serve_app.hearing.speakers import ALONE, Turn
from serve_app.sentences import spaceless

MAX_BYTES = 16 * 1024**2
"""A hundred hours of talk are smaller."""

SUFFIXES = (".srt", ".vtt")

SHORTEST_S = 0.1
"""Cues that would get less time than this join the one before."""

ROLL_S = 0.05
"""A caption that only stands for so long is the hinge of two that roll up."""

VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
TAG = re.compile(r"</?[^\W_][^<>]*>|\{\\[^{}]*\}")
SOUND = re.compile(r"\[[^\[\]]*\]|♪[^♪]*♪?|♫[^♫]*♫?")
ASIDE = re.compile(r"\([^().,?!]*\)|（[^（）。、？！]*）")
DIALOGUE = re.compile(r"^\s*(?:[-‐–—]+(?!\d)|>{2,})\s*")
STAMP = r"(?:(\d+):)?(\d{1,2}:\d{1,2})[,.](\d{1,3})"
TIMES = re.compile(rf"\s*{STAMP}\s*-->\s*{STAMP}(?=\s|$)")
LIKE_TIMES = re.compile(r"\s*\d+:\d.*->|.*-->.*\d:\d")


@dataclass(frozen=True, slots=True)
class Cue:
    """What is said from `start` to `end`, in seconds; `speaker` is empty where the file does not say."""

    start: float
    end: float
    text: str
    speaker: str = ""


def read(path: Path) -> list[Cue]:
    """The cues of an SRT or WebVTT file in order of time, without overlap, each with something to say.

    Raises UnreadableTranscript for a file that is no such thing, is damaged, or says nothing.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableTranscript(f"the transcript is larger than {MAX_BYTES // 1024**2} MiB; send SRT or WebVTT")
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableTranscript("the transcript is not there any more; send it again") from error
    return parse(content)


def parse(content: bytes) -> list[Cue]:
    """The same for the bytes of a file."""
    cues = [cue for one in _unrolled(_captions(_text(content))) for cue in _said(*one)]
    if not cues:
        raise UnreadableTranscript("the transcript says nothing; send one with at least one spoken cue")
    return apart(sorted(cues, key=lambda cue: (cue.start, cue.end)))


def _text(content: bytes) -> str:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableTranscript("the transcript is not encoded as UTF-8; save it so and send it again") from error
    return "\n".join(text.replace("\0", "").splitlines()).strip() + "\n"


def _captions(text: str) -> list[tuple[float, float, str]]:
    """(start, end, text with its tags) of each cue, as the file has them."""
    import webvtt
    from webvtt.errors import MalformedCaptionError, MalformedFileError

    if broken := next((line for line in text.splitlines() if LIKE_TIMES.match(line) and not TIMES.match(line)), ""):
        raise UnreadableTranscript(f"the transcript has a line of times that cannot be read, mend it: {broken[:60]!r}")
    form = "vtt" if text.startswith("WEBVTT") else "srt"
    try:
        found = webvtt.from_buffer(io.StringIO(_regular(text, form)), format=form).captions
    except (MalformedFileError, MalformedCaptionError, ValueError) as error:
        raise UnreadableTranscript("the transcript is neither SRT nor WebVTT; send one of these") from error
    timed = [(one.start_time.in_milliseconds() / 1000, one.end_time.in_milliseconds() / 1000, one) for one in found]
    for start, end, one in timed:
        if end <= start:
            raise UnreadableTranscript(
                f"the cue at {one.start} of the transcript ends before it begins; mend its times"
            )
    return [(start, end, one.raw_text) for start, end, one in timed]


def _regular(text: str, form: str) -> str:
    """The text with its lines of times as the parser wants them: with hours, and behind a number in SRT."""
    point, lines = ("." if form == "vtt" else ","), list[str]()
    numbered = text.split("\n", 1)[0].strip().isdigit()
    for line in text.splitlines():
        if times := TIMES.match(line):
            hours, first, part, more, last, rest = times.groups()
            if form == "srt":
                _number(lines, numbered)
            line = f"{hours or '00'}:{first}{point}{part} --> {more or '00'}:{last}{point}{rest}{line[times.end() :]}"
        lines.append(line)
    return "\n".join(lines).strip() + "\n"


def _number(lines: list[str], numbered: bool) -> None:
    """Sees to it that the last line is a number, as it mostly is where the file is `numbered`."""
    filled = next((index for index in range(len(lines) - 1, -1, -1) if lines[index].strip()), None)
    if numbered and filled is not None and lines[filled].strip().isdigit():
        del lines[filled + 1 :]
    else:
        lines += ["", "0"]


def _unrolled(captions: Sequence[tuple[float, float, str]]) -> Iterator[tuple[float, float, str]]:
    """The captions without the lines that still stand from the caption right before."""
    standing: list[str] = []
    until = 0.0
    for start, end, raw in captions:
        lines = [line for line in raw.splitlines() if _plain(line)]
        shown = [_plain(line) for line in lines]
        again = next((n for n in range(len(shown), 0, -1) if shown[:n] == standing[-n:]), 0)
        rolls = again and start - until < ROLL_S and (again < len(shown) or end - start < ROLL_S)
        yield start, end, "\n".join(lines[again:]) if rolls else raw
        standing, until = shown, end


def _said(start: float, end: float, raw: str) -> Iterator[Cue]:
    """The cue, or one for each voice in it, sharing its time by the length of what they say."""
    nobody, *rest = VOICE.split(raw)
    pieces = [("", nobody), *zip(rest[::2], rest[1::2], strict=True)]
    spoken = [(html.unescape(voice).strip(), text) for voice, piece in pieces if (text := _plain(piece))]
    total = sum(len(text) for _, text in spoken)
    at = start
    for voice, text in spoken:
        until = at + (end - start) * len(text) / total
        yield Cue(at, until, text, voice)
        at = until


def _plain(raw: str) -> str:
    """One line without marks; empty when nothing in it can be said."""
    clean = html.unescape(SOUND.sub(" ", TAG.sub("", raw)))
    lines = [" ".join(DIALOGUE.sub("", line).split()) for line in clean.splitlines()]
    text = ""
    for line in filter(None, lines):
        glue = "" if not text or spaceless(text[-1]) or spaceless(line[0]) else " "
        text += glue + line
    return text if any(character.isalnum() for character in ASIDE.sub("", text)) else ""


def apart(cues: Sequence[Cue]) -> list[Cue]:
    """The same cues, ascending by start, without overlap: of two at the same time, each gets a part."""
    made: list[Cue] = []
    for cue in cues:
        if made and cue.start < made[-1].end:
            last = made[-1]
            end = max(last.end, cue.end)
            border = cue.start if cue.start - last.start >= SHORTEST_S else (last.start + end) / 2
            if border - last.start < SHORTEST_S or end - border < SHORTEST_S:
                made[-1] = replace(last, end=end, text=f"{last.text} {cue.text}")
                continue
            made[-1] = replace(last, end=border)
            cue = replace(cue, start=border, end=end)
        made.append(cue)
    return made


def fitting(cues: Sequence[Cue], duration: float) -> list[Cue]:
    """The cues that lie in a video of so many seconds. Raises UnreadableTranscript when hardly any do."""
    inside = [replace(cue, end=min(cue.end, duration)) for cue in cues if cue.start + SHORTEST_S <= duration]
    if 2 * len(inside) < len(cues):
        raise UnreadableTranscript("most of the transcript lies behind the end of the video; is it of another film?")
    return inside


def turns(cues: Sequence[Cue]) -> tuple[Turn, ...]:
    """Who speaks when, as far as the transcript names them."""
    named = any(cue.speaker for cue in cues)
    return tuple(Turn(cue.start, cue.end, cue.speaker or ALONE) for cue in cues) if named else ()


def segments(cues: Sequence[Cue], window: Span, language: str, first_id: int) -> list[Segment]:
    """The cues that begin in the window, as segments."""
    begun = [cue for cue in cues if window.start <= cue.start < window.end]
    return [
        Segment(first_id + index, cue.start, cue.end, cue.text, language=language, speaker=cue.speaker or ALONE)
        for index, cue in enumerate(begun)
    ]
