"""The recipe that many scripts follow, one file after another: `python -m tests.bench.peer FILM … --checkpoint DIR`.

    hear        faster-whisper, WhisperModel.transcribe, int8, with the model that the service has
    translate   transformers, a Marian checkpoint in torch, `generate` with four beams, a call a sentence
    speak       espeak-ng, a call a sentence
    encode      ffmpeg: the clips at their places as the only sound, subtitles burnt in, x264 at the preset `slow`

Models are loaded before the clock runs, and every library may use all cores, as it does of its own accord. The recipe
does less than the service: no fitting of lengths, no ducking, no loudness, no check of what came out.

Writes a line of JSON for each film: seconds of every stage, sentences, and `encode_medium` where that was asked for.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from configs.engines import AsrSettings, TtsSettings
from export.bench.checkpoint import Size, write
from models.asr.weights import locate
from models.segment import Utterance
from models.tts.espeak import EspeakTts
from serve_app.media import ffmpeg

EMBEDDED = Size(192, 3, 4, 768, 7_101, 96)
"""As wide as the embedded model, with as many layers: 3 + 3 for its 4 + 2."""

RATE = 22_050
STAGES = ("hear", "translate", "speak", "encode")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path, nargs="+")
    parser.add_argument("--checkpoint", type=Path, help="of a Marian in the form of transformers; left out: random")
    parser.add_argument("--preset", default="slow")
    parser.add_argument("--medium", action="store_true", help="encode once more at the preset `medium`")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(Path(folder), asked.checkpoint)
        for film in asked.films:
            print(json.dumps(peer.dub(film, asked.preset, asked.medium)), flush=True)


@dataclass(frozen=True, slots=True)
class Line:
    start: float
    end: float
    text: str


class Peer:
    def __init__(self, folder: Path, checkpoint: Path | None) -> None:
        from faster_whisper import WhisperModel
        from transformers import MarianMTModel, MarianTokenizer

        self._folder, self._random = folder, checkpoint is None
        path = checkpoint or write(EMBEDDED, folder / "checkpoint")
        self._ears = WhisperModel(str(locate(AsrSettings().model)), device="cpu", compute_type="int8")
        self._words = MarianTokenizer.from_pretrained(path)
        self._marian = MarianMTModel.from_pretrained(path).eval()
        self._voice = EspeakTts(TtsSettings())
        self._voice.speak([Utterance("Hola.", "es")])

    def dub(self, film: Path, preset: str, medium: bool) -> dict[str, Any]:
        times = [time.perf_counter()]

        def lap() -> None:
            times.append(time.perf_counter())

        lines = [
            Line(one.start, one.end, one.text.strip()) for one in self._ears.transcribe(str(film), language="en")[0]
        ]
        lap()
        said = [Line(line.start, line.end, self._translated(line.text)) for line in lines]
        lap()
        sound = self._spoken(said)
        lap()
        self._encode(film, sound, said, preset)
        lap()
        told: dict[str, Any] = dict(zip(STAGES, np.diff(times).round(3).tolist(), strict=True))
        if medium:
            self._encode(film, sound, said, "medium")
            told["encode_medium"] = round(time.perf_counter() - times[-1], 3)
        return {"film": film.name, "sentences": len(lines), **told}

    def _translated(self, text: str) -> str:
        import torch

        tokens = self._words([text], return_tensors="pt")
        limits: dict[str, int] = {"max_new_tokens": 96}
        if self._random:  # it would talk to its limit: so it says as much as it was told
            limits = dict.fromkeys(("min_new_tokens", "max_new_tokens"), int(tokens["input_ids"].shape[1]))
        with torch.inference_mode():
            answer = self._marian.generate(**tokens, num_beams=4, **limits)
        translation: str = self._words.batch_decode(answer, skip_special_tokens=True)[0]
        return translation if not self._random else text

    def _spoken(self, said: list[Line]) -> Path:
        """A file with every sentence at the place of its original."""
        track = np.zeros(round((max((line.end for line in said), default=0) + 10) * RATE), np.float32)
        for line in said:
            if not line.text:
                continue
            speech = self._voice.speak([Utterance(line.text, "es")])[0]
            at = round(line.start * RATE)
            clip = speech.audio[: len(track) - at]
            track[at : at + len(clip)] += clip
        path = self._folder / "dub.wav"
        soundfile.write(path, track, RATE)
        return path

    def _encode(self, film: Path, sound: Path, said: list[Line], preset: str) -> None:
        subtitles = self._folder / "said.srt"
        cues = [f"{n}\n{_clock(one.start)} --> {_clock(one.end)}\n{one.text}\n" for n, one in enumerate(said, 1)]
        subtitles.write_text("\n".join(cues), "utf-8")
        command = [ffmpeg.binary(), "-v", "error", "-nostdin", "-y", "-i", str(film), "-i", str(sound)]
        command += ["-map", "0:v", "-map", "1:a", "-vf", f"subtitles={subtitles.name}", "-c:v", "libx264"]
        command += ["-preset", preset, "-c:a", "aac", "-shortest", str(self._folder / "out.mp4")]
        subprocess.run(command, check=True, cwd=self._folder)


def _clock(seconds: float) -> str:
    whole, rest = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{rest:03}"


if __name__ == "__main__":
    sys.exit(main())
