"""Room 5, speak: every translation becomes a clip of speech of the right level and, where the voice can, length.

A clip that is longer than its slot (the segment and the pause after it) is asked for again at a higher rate before
anyone stretches it: a voice that speaks faster sounds better than one that is played faster. It costs a second call
for such segments, since no engine can be asked how long it will take.

Each clip has a note beside it (`<id>.json`: a hash of what was asked, who spoke, and a hash of the clip), so that a job
that comes back speaks only what is missing or damaged. A segment that nobody could speak stays silent and is reported;
it never fails the job.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from configs.pipeline import SpeakSettings
from models.artifact import digest
from models.errors import DubError, OutOfSpace, StageFailed, Stalled
from models.segment import Segment, Speech, Utterance
from models.tts.plausible import require_plausible, sayable
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import disk_space
from serve_app.media import audio

STAGE = "tts"
Say = Callable[[Utterance], Awaitable[Speech]]
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
) -> list[Segment]:
    """The segments with `speech` (folder/<id>.wav), `spoken` and `voice`; all three None where nobody could speak.

    `language` is the target's ISO-639-1 code, `gender` male, female or neutral; empty: each segment's own,
    where it is known; a voice that was wanted for one segment goes before both. Never raises for one segment.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    gate = asyncio.Semaphore(settings.at_once)
    booth = _Booth(language, gender, say, folder, settings, report)

    async def one(segment: Segment, slot: float) -> Segment:
        async with gate:
            return await booth.record(segment, slot)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(*pair)) for pair in zip(segments, slots(segments), strict=True)]
    return [task.result() for task in tasks]


def slots(segments: list[Segment]) -> list[float]:
    """Seconds that each segment may fill: up to the start of the next one; the last has its own duration."""
    nexts = [segment.start for segment in segments[1:]] + [segment.end for segment in segments[-1:]]
    return [max(segment.end, after) - segment.start for segment, after in zip(segments, nexts, strict=True)]


class _Note(TypedDict):
    """What lies beside a clip: a hash of what was asked, who spoke, for how many seconds, and the file's SHA-256."""

    key: str
    voice: str
    spoken: float
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

    async def record(self, segment: Segment, slot: float) -> Segment:
        silent = replace(segment, speech=None, spoken=None, voice=None)
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
        note, key = wav.with_suffix(".json"), self._key(utterance, slot)
        known = await asyncio.to_thread(_recall, wav, note, key)
        done = known or await self._said(utterance, slot, wav, note, key)
        return replace(segment, speech=str(wav), spoken=done["spoken"], voice=done["voice"])

    async def _said(self, utterance: Utterance, slot: float, wav: Path, note: Path, key: str) -> _Note:
        speech = await self._fitting(utterance, slot)
        done = await asyncio.to_thread(_keep, wav, speech, note, key)
        self._introduce(speech.voice)
        return done

    def _key(self, utterance: Utterance, slot: float) -> str:
        asked = [utterance.text, utterance.language, utterance.gender, round(slot, 3), self.settings.model_dump_json()]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    async def _fitting(self, utterance: Utterance, slot: float) -> Speech:
        """The utterance at its own rate, or faster (up to max_rate) when that is longer than `slot` seconds."""
        speech = await self._clip(utterance)
        rate = min(self.settings.max_rate, speech.duration / slot)
        if rate <= 1.02:
            return speech
        try:
            faster = await self._clip(replace(utterance, rate=rate))
        except StageFailed:
            return speech
        return min(faster, speech, key=lambda clip: clip.duration)

    async def _clip(self, utterance: Utterance) -> Speech:
        return await asyncio.to_thread(_polish, await self.say(utterance), utterance, self.settings)

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

    def _missed(self, segment: Segment, error: Exception) -> None:
        reason = str(error) if isinstance(error, DubError) else "the speech engine is out of order"
        logger.warning("segment %d was not spoken", segment.id, exc_info=error)
        where = f"Segment {segment.id} at {segment.start:.1f} s"
        self.report.log(STAGE, f"{where} stays silent: {reason}", "warning", chunk_id=str(segment.id))
        self.report.insight(
            "warning", "A sentence could not be spoken", f"{where}: {reason}", "high", segment=segment.id
        )


def _polish(speech: Speech, utterance: Utterance, settings: SpeakSettings) -> Speech:
    """Silence trimmed, loudness and peaks as configured; raises StageFailed when too little is left."""
    sound = audio.trim(speech.audio, speech.sample_rate, settings.silence_db)
    trimmed = require_plausible(replace(speech, audio=sound), utterance)
    level = audio.normalize(trimmed.audio, speech.sample_rate, settings.lufs, settings.peak_db)
    return replace(speech, audio=level)


def _keep(wav: Path, speech: Speech, note: Path, key: str) -> _Note:
    """Writes the clip and its note, and gives the note."""
    with disk_space():
        audio.write(wav, speech.audio, speech.sample_rate)
        done: _Note = {"key": key, "voice": speech.voice, "spoken": speech.duration, "sha256": digest(wav)}
        note.write_text(json.dumps(done), "utf-8")
        return done


def _recall(wav: Path, note: Path, key: str) -> _Note | None:
    """What the note says, if it answers the same question and its clip is there as it was written."""
    try:
        done: _Note = json.loads(note.read_text("utf-8"))
        return done if done["key"] == key and done["sha256"] == digest(wav) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
