"""Where speech is, in real WAV files, however they are read; and how much memory that takes."""

import numpy as np
import pytest

from configs.engines import VadSettings
from models.echo import EchoVad
from models.errors import NoSpeech
from serve_app.speech import listen, quietest

RATE = 16_000


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
