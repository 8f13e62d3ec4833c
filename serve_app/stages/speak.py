"""Room 5, speak: every translation becomes a clip of speech of the right level and, where the voice can, length.

A clip that is longer or shorter than its segment is asked for at another rate, and where no rate makes it fit its slot
(the segment and the pause after it), the translation gives way to a shorter one: `fitting` has the rules.

Each clip has a note beside it (`<id>.json`: a hash of what was asked, who spoke, and a hash of the clip), so that a job
that comes back speaks only what is missing or damaged. A segment that nobody could speak stays silent and is reported;
it never fails the job.
"""

import asyncio
import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict

from configs.pipeline import SpeakSettings
from models.artifact import digest
from models.errors import DubError, OutOfSpace, Stalled
from models.segment import Alternative, Segment, Speech, Utterance
from models.translation.quality import speech_seconds
from models.tts.plausible import sayable
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import disk_space
from serve_app.media import audio
from serve_app.retakes import Judge, Retakes, Say

STAGE = "tts"
logger = logging.getLogger(__name__)


async def speak(
    segments: list[Segment],
    *,
    language: str,
    gender: str,
    say: Say,
    folder: Path,
    settings: SpeakSettings,
    report: Report,
    until: float | None = None,
    judge: Judge | None = None,
) -> list[Segment]:
    """The segments with `speech` (folder/<id>.wav), `spoken` and `voice`; all three None where nobody could speak.

    And with `retries`, and `understood` where a `judge` listens.

    `language` is the target's ISO-639-1 code, `gender` male, female or neutral; empty: each segment's own,
    where it is known; a voice that was wanted for one segment goes before both. `until` is where the last slot ends,
    in seconds of the video. Never raises for one segment.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    gate = asyncio.Semaphore(settings.at_once)
    booth = _Booth(language, gender, say, folder, settings, report, judge)

    async def one(segment: Segment, slot: float) -> Segment:
        async with gate:
            return await booth.record(segment, slot)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(*pair)) for pair in zip(segments, slots(segments, until), strict=True)]
    return [task.result() for task in tasks]


def slots(segments: list[Segment], until: float | None = None) -> list[float]:
    """Seconds that each segment may fill: up to the start of the next one, the last up to `until` or its own end."""
    nexts = [segment.start for segment in segments[1:]]
    nexts += [segment.end if until is None else until for segment in segments[-1:]]
    return [max(segment.end, after) - segment.start for segment, after in zip(segments, nexts, strict=True)]


class _Note(TypedDict):
    """What lies beside a clip: a hash of what was asked, what came of it (as in Segment), and the file's SHA-256."""

    key: str
    text: str
    voice: str
    spoken: float
    retries: list[str]
    understood: float | None
    sha256: str


@dataclass(frozen=True)
class _Booth:
    """What all segments of one call have in common."""

    language: str
    gender: str
    say: Say
    folder: Path
    settings: SpeakSettings
    report: Report
    judge: Judge | None

    async def record(self, segment: Segment, slot: float) -> Segment:
        silent = replace(segment, speech=None, spoken=None, voice=None, retries=(), understood=None)
        try:
            if not sayable(segment.translation or ""):
                return silent
            gender = segment.wanted_voice or self.gender or segment.gender or "neutral"
            utterance = Utterance(segment.translation or "", self.language, gender)
            return await self._cached(silent, utterance, slot)
        except (OutOfSpace, Stalled):  # silence would look like a voice that failed
            raise
        except Exception as error:  # a dead replica raises types of Ray; whatever it is, one segment stays silent
            self._missed(segment, error)
            return silent
        finally:
            self.report.advance(STAGE, segment.duration)

    async def _cached(self, segment: Segment, utterance: Utterance, slot: float) -> Segment:
        wav = self.folder / f"{segment.id}.wav"
        note, key = wav.with_suffix(".json"), self._key(segment, utterance, slot)
        known = await asyncio.to_thread(_recall, wav, note, key)
        done = known or await self._said(segment, utterance, slot, wav, note, key)
        spoken = replace(
            segment,
            speech=str(wav),
            spoken=done["spoken"],
            voice=done["voice"],
            retries=tuple(done["retries"]),
            understood=done["understood"],
        )
        return spoken if done["text"] == segment.translation else self._condensed(spoken, done["text"])

    async def _said(
        self, segment: Segment, utterance: Utterance, slot: float, wav: Path, note: Path, key: str
    ) -> _Note:
        retakes = Retakes(self.say, self.settings, self.judge)
        take, understood = await retakes.best(segment, utterance, slot)
        done = _Note(
            key=key,
            text=take.text,
            voice=take.speech.voice,
            spoken=take.seconds,
            retries=retakes.reasons,
            understood=understood,
            sha256="",
        )
        done = await asyncio.to_thread(_keep, wav, take.speech, note, done)
        self._introduce(take.speech.voice)
        self._repaired(segment, done)
        return done

    def _key(self, segment: Segment, utterance: Utterance, slot: float) -> str:
        words = [utterance.text, [asdict(other) for other in segment.alternatives], segment.flags, segment.edited]
        asked = [utterance.language, utterance.gender, round(segment.duration, 3), round(slot, 3)]
        rules = [self.settings.what(), self.judge and self.judge.min_match]
        return hashlib.sha256(json.dumps([words, asked, rules]).encode()).hexdigest()

    def _condensed(self, segment: Segment, text: str) -> Segment:
        """With `text`, one of the alternatives, as its translation, and the translation among the alternatives."""
        [chosen] = [other for other in segment.alternatives if other.text == text]
        others = tuple(other for other in segment.alternatives if other != chosen)
        long = segment.translation or ""
        left = Alternative(long, round(speech_seconds(long, self.language), 2), segment.score, segment.flags)
        message = f"Segment {segment.id} at {segment.start:.1f} s is said in fewer words: its translation took too long"
        self.report.log(STAGE, message, chunk_id=str(segment.id), left_out=long)
        return replace(
            segment,
            translation=text,
            score=chosen.score,
            flags=chosen.flags,
            alternatives=(left, *others),
            condensed=True,
        )

    def _introduce(self, voice: str) -> None:
        """Says once per job who speaks, and once when another engine has to step in."""
        engine, _, name = voice.partition(":")
        known = [line.extra["voice"] for line in self.report.lines() if line.stage == STAGE and "voice" in line.extra]
        if voice in known:
            return
        if known and known[0].partition(":")[0] != engine:
            message = f"Fallback: using {engine} voice {name} where {known[0].replace(':', ' voice ')} did not speak"
            self.report.log(STAGE, message, "warning", voice=voice)
        else:
            self.report.log(STAGE, f"Using {engine} voice {name}", voice=voice)

    def _repaired(self, segment: Segment, done: _Note) -> None:
        if not done["retries"]:
            return
        engine, _, name = done["voice"].partition(":")
        reasons = "; ".join(done["retries"])
        message = f"Segment {segment.id} at {segment.start:.1f} s is said by the {engine} voice {name}: {reasons}"
        self.report.log(STAGE, message, "warning", chunk_id=str(segment.id), retries=done["retries"])

    def _missed(self, segment: Segment, error: Exception) -> None:
        reason = str(error) if isinstance(error, DubError) else "the speech engine is out of order"
        logger.warning("segment %d was not spoken", segment.id, exc_info=error)
        where = f"Segment {segment.id} at {segment.start:.1f} s"
        self.report.log(STAGE, f"{where} stays silent: {reason}", "warning", chunk_id=str(segment.id))
        self.report.insight(
            "warning", "A sentence could not be spoken", f"{where}: {reason}", "high", segment=segment.id
        )


def _keep(wav: Path, speech: Speech, note: Path, done: _Note) -> _Note:
    """Writes the clip and its note, and gives the note with the hash of the clip."""
    with disk_space():
        audio.write(wav, speech.audio, speech.sample_rate)
        done["sha256"] = digest(wav)
        note.write_text(json.dumps(done), "utf-8")
        return done


def _recall(wav: Path, note: Path, key: str) -> _Note | None:
    """What the note says, if it answers the same question and its clip is there as it was written."""
    try:
        done: _Note = json.loads(note.read_text("utf-8"))
        return done if done["key"] == key and done["sha256"] == digest(wav) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
