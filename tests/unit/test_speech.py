"""Where speech is, in real WAV files, however they are read; and how much memory that takes."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.engines import VadSettings
from models.echo import EchoVad
from models.errors import NoSpeech
from serve_app.hearing.speech import listen, quietest

RATE = 16_000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def detect():
    engine = EchoVad(VadSettings(pad_s=0.0))

    async def call(clip):
        return engine.detect([clip])[0]

    return call


async def test_speech_is_the_same_however_the_file_is_read(wav, detect):
    path = wav((0.5, 3.0), (4.0, 9.0), (9.96, 10.5), (15.2, 25.1), (29.98, 30.4), duration=32)
    whole = await listen(path, detect)
    assert [(span.start, span.end) for span in whole] == [
        (pytest.approx(start, abs=0.03), pytest.approx(end, abs=0.03))
        for start, end in [(0.5, 3.0), (4.0, 9.0), (9.96, 10.5), (15.2, 25.1), (29.98, 30.4)]
    ]
    blocks = await listen(path, detect, block_s=10.0)
    assert [(s.start, s.end) for s in blocks] == [(pytest.approx(s.start), pytest.approx(s.end)) for s in whole]


async def test_no_block_is_longer_than_asked_for(wav, detect):
    sizes = []

    async def watched(clip):
        sizes.append(clip.duration)
        return await detect(clip)

    await listen(wav((1, 2), duration=30), watched, block_s=8.0)
    assert sizes == [8.0, 9.0, 9.0, 7.0]


async def test_long_speech_is_cut_where_it_is_quietest(wav, detect):
    path = wav((0.0, 17.0), (17.2, 40.0), duration=41)
    spans = await listen(path, detect, max_span_s=20.0)
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    assert 17.0 <= spans[0].end <= 17.2 and all(span.duration <= 20 for span in spans) and spans[-1].end == 40.0


def test_the_quietest_place_is_the_middle_of_the_hush():
    audio = np.full(2 * RATE, 0.5, np.float32)
    audio[RATE : RATE + RATE // 5] = 0.01
    assert quietest(audio) == pytest.approx(1.1, abs=0.06)


async def test_progress_is_told_by_the_time_that_was_heard(wav, detect):
    shares = []
    await listen(wav((1, 2), duration=30), detect, block_s=8.0, heard=shares.append)
    assert shares == [pytest.approx(share) for share in (8 / 30, 16 / 30, 24 / 30, 1.0)]


async def test_silence_is_no_speech(wav, detect):
    with pytest.raises(NoSpeech, match="no speech was found"):
        await listen(wav(duration=3), detect)


# -- memory ------------------------------------------------------------------------------------------------------------

LISTENER = """
import asyncio, resource, sys
from pathlib import Path
import numpy as np
from configs.engines import AsrSettings, VadSettings
from configs.pipeline import RecognizeSettings, WindowSettings
from models.echo import EchoRecognizer, EchoVad
from serve_app.jobs.report import Report
from serve_app.hearing.languages import identify
from serve_app.hearing.speech import duration, listen
from serve_app.stages.recognize import recognize
from serve_app.hearing.windows import windows

async def main(wav):
    vad, ears, rules, report = EchoVad(VadSettings()), EchoRecognizer(AsrSettings()), RecognizeSettings(), Report("job")
    async def detect(clip): return vad.detect([clip])[0]
    async def hear(clip): return ears.recognize([clip])[0]
    speech = await listen(wav, detect)
    spoken = await identify(wav, speech, "en", hear, None, rules, report)
    count = 0
    for window in windows(speech, duration(wav), WindowSettings()):
        count += len(await recognize(wav, window, speech, spoken, hear, rules, 1, report))
    print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

asyncio.run(main(Path(sys.argv[1])))
"""


def spoken_wav(path, minutes):
    """Ten seconds of sound in every minute; what lies between takes no room on the disk."""
    tone = (0.3 * 32767 * np.sin(2 * np.pi * 300 * np.arange(10 * RATE) / RATE)).astype("<i2").tobytes()
    size = minutes * 60 * RATE * 2
    with path.open("wb") as file:
        form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size))
        for minute in range(minutes):
            file.seek(44 + minute * 60 * RATE * 2)
            file.write(tone)
        file.truncate(44 + size)
    return path


def test_three_hours_take_no_more_memory_than_ten_minutes(tmp_path):
    peaks = {}
    for minutes in (10, 180):
        wav = spoken_wav(tmp_path / f"{minutes}.wav", minutes)
        peaks[minutes] = peak(wav, at_least=minutes)
    assert peaks[180] <= 1.2 * peaks[10]


def peak(wav, at_least):
    """The most memory that listening to the file took; one arena, or the allocator's habits are measured as well."""
    command = [sys.executable, "-c", LISTENER, str(wav)]
    alone = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=alone)
    segments, most = map(int, done.stdout.split())
    assert segments >= at_least
    return most
