"""What the engines of a job have said, kept as they said it: the same thing is said once.

A take is kept under what was asked (the words, the language, the voice, the rate and the engines to avoid) and the
settings of the engines, whichever segment it was for. So a sentence that comes again costs nothing, nor do clips that
are lost, or trimmed and levelled by other rules. Each is a WAV of 16 bits, and a line in the job's memory with its hash
and who spoke. What is handed out is always what was kept, so a run that comes back makes the same clips as one that was
never away.

It costs the disk of a job some 44 kB for each second that is spoken.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from models.artifact import digest
from models.segment import Speech, Utterance
from serve_app.jobs.memory import Memory
from serve_app.jobs.workspace import disk_space, key
from serve_app.media import audio

Say = Callable[[Utterance], Awaitable[Speech]]


class Takes:
    """An engine that says each utterance once; wrapped around a job's engine, it is the job's archive.

    `made_from` stands for the engines' settings. Raises what `say` raises, and OutOfSpace.
    """

    def __init__(self, say: Say, folder: Path, memory: Memory, made_from: str) -> None:
        self._say = say
        self._folder = folder
        self._memory = memory
        self._made_from = made_from
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __call__(self, utterance: Utterance) -> Speech:
        asked = key(self._made_from, utterance)
        async with self._locks[asked]:
            take = await asyncio.to_thread(self._recall, asked)
            if take is None:
                said = await self._say(utterance)
                # what is paused now is not to be asked again later
                take = await asyncio.shield(asyncio.to_thread(self._keep, asked, said))
            return take

    def _keep(self, asked: str, said: Speech) -> Speech:
        wav = self._wav(asked)
        with disk_space():
            self._folder.mkdir(parents=True, exist_ok=True)
            audio.write(wav, said.audio, said.sample_rate)
        self._memory.keep(asked, [digest(wav), said.voice, said.failed, said.tried])
        return self._recall(asked) or said

    def _recall(self, asked: str) -> Speech | None:
        """What was kept, if it is there as it was written, and not by another version."""
        kept: Any = self._memory.get(asked)
        try:
            seal, voice, failed, tried = kept
            if seal != digest(self._wav(asked)):
                return None
            sound, rate = audio.read(self._wav(asked))
            return Speech(sound, rate, voice, tuple(failed), tuple(tried))
        except (OSError, ValueError, TypeError):
            return None

    def _wav(self, asked: str) -> Path:
        return self._folder / f"{asked[:32]}.wav"
