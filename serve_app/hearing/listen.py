"""What is known of the whole recording before its windows flow: where speech is, in which language, and who speaks.

It is heard once, a piece at a time, or taken from a transcript that came with the job; then only the language, when it
was not given, and men's and women's voices are listened for. Everything is plain enough to lie in a checkpoint.
"""

import asyncio
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs.app import AppSettings
from models.segment import Span
from models.translation.pairs import reachable, route
from serve_app.engines import Models
from serve_app.hearing import transcripts
from serve_app.hearing.languages import Part, Spoken, identify
from serve_app.hearing.speakers import Cast, Turn, cast, introduced
from serve_app.hearing.speech import listen
from serve_app.hearing.transcripts import Cue
from serve_app.jobs.report import Report

STAGE = "transcription"

LISTENING = 0.1
"""The share of the stage that is done when the whole recording was listened to, before any window is recognised."""


@dataclass(frozen=True, slots=True)
class Heard:
    """`speech` ascends without overlap; `cues` are what a transcript says, None when it is to be recognised."""

    speech: list[Span]
    spoken: Spoken
    cast: Cast
    cues: list[Cue] | None = None


async def hear(wav: Path, given: str, models: Models, settings: AppSettings, report: Report) -> Heard:
    """Listens to the whole recording. Raises NoSpeech, or UnsupportedLanguage; see `listen` and `identify`."""
    speech = await listen(wav, models.detect, heard=lambda share: report.fraction(STAGE, LISTENING * share))
    rules = settings.pipeline.recognize
    spoken = await identify(wav, speech, given, models.recognize, models.hears, rules, report)
    return Heard(speech, spoken, await cast(wav, speech, models.diarize, settings.engines.speaker, report))


async def follow(
    wav: Path, cues: list[Cue], given: str, models: Models, settings: AppSettings, report: Report
) -> Heard:
    """Takes the word of a transcript, also for its language when that is given."""
    speech = [Span(cue.start, cue.end) for cue in cues]
    spoken = Spoken(given)
    if given in ("", "auto"):
        rules = settings.pipeline.recognize.model_copy(update={"languages": "one"})
        spoken = await identify(wav, speech, "", models.recognize, models.hears, rules, report)
    turns = transcripts.turns(cues)
    known = await asyncio.to_thread(introduced, wav, turns, speech)
    names = len({turn.speaker for turn in turns})
    told = f"{len(cues)} cues" + (f" and {names} speakers" if names else "")
    report.log(STAGE, f"using the transcript that came with the job: {told}; nothing is recognised")
    return Heard(speech, spoken, known, cues)


def dubbable(spoken: Spoken, target: str, pairs: Collection[tuple[str, str]], report: Report) -> frozenset[str]:
    """The languages from which a way leads to `target`, its own among them; a part in another keeps its own sound.

    Raises UnsupportedLanguage when that is so for the language of the job.
    """
    route(pairs, spoken.language, target)
    found = {target} | {source for source, end in reachable(pairs) if end == target}
    for language in sorted({part.language for part in spoken.parts} - found):
        undubbed(language, target, report)
    return frozenset(found)


def undubbed(language: str, target: str, report: Report) -> None:
    """Tells, once, that what is spoken in `language` stays as it is."""
    said = f"The parts in {language!r} keep their sound: no model leads from it to {target!r}"
    if all(one.description != said for one in report.insights()):
        report.log("translation", said, "warning")
        report.insight("warning", "A part is not dubbed", said, "high", language=language)


def to_json(heard: Heard) -> dict[str, Any]:
    return asdict(heard)


def from_json(row: dict[str, Any]) -> Heard:
    """Inverse of `to_json`; raises TypeError or KeyError on a row of another shape."""
    spoken, known, cues = row["spoken"], row["cast"], row["cues"]
    return Heard(
        [Span(**span) for span in row["speech"]],
        Spoken(spoken["language"], tuple(Part(**part) for part in spoken["parts"])),
        Cast(**{**known, "turns": tuple(Turn(**turn) for turn in known["turns"])}),
        None if cues is None else [Cue(**cue) for cue in cues],
    )
