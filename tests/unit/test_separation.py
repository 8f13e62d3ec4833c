"""sherpa-onnx itself, on networks of a few weights in place of its models: what stands in the middle is the voice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from configs.engines import SeparationSettings
from models.artifact import MANIFEST, File, Manifest
from models.errors import ArtifactMissing
from models.registry import load
from models.segment import SEPARATION_RATE
from models.separation import sherpa
from serve_app.local import separating
from tests.unit.test_sherpa import save

UVR = {
    "model_type": "UVR", "stems": "2", "sample_rate": str(SEPARATION_RATE), "n_fft": "2048", "hop_length": "1024",
    "win_length": "2048", "window_type": "hann", "center": "1", "dim_t": "64", "dim_f": "1024", "dim_c": "4",
}  # fmt: skip
SPLEETER = {"model_type": "spleeter", "stems": "2"}
MIDDLE = [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]]


def tensor(name: str, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def uvr(tmp_path: Path) -> Path:
    """The voice is the mean of left and right, in every part of the complex spectrum (batch, 4, bins, frames)."""
    weight = np.array(MIDDLE, np.float32)[:, :, None, None]
    shape = ["n", 4, 1024, 64]
    nodes = [helper.make_node("Conv", ["x", "weight"], ["y"])]
    return save(tmp_path / "uvr.onnx", nodes, [tensor("x", shape)], [tensor("y", shape)], {"weight": weight}, UVR)


@pytest.fixture
def spleeter(tmp_path: Path) -> Path:
    """The voice is below 700 Hz, the music above: masks on the magnitudes (2, splits, 512 frames, 1024 bins)."""
    folder = tmp_path / "spleeter"
    folder.mkdir()
    low = (np.arange(1024) * SEPARATION_RATE / 4096 < 700).astype(np.float32)
    for name, mask in (("vocals", low), ("accompaniment", 1 - low)):
        nodes = [helper.make_node("Mul", ["x", "mask"], ["y"])]
        shape = [2, "n", 512, 1024]
        save(folder / f"{name}.onnx", nodes, [tensor("x", shape)], [tensor("y", shape)], {"mask": mask}, SPLEETER)
    return folder


def sound(seconds: float = 12.5) -> tuple[np.ndarray, np.ndarray]:
    """A film's sound and the music in it: a voice of 300 Hz in the middle, music of 1 kHz at the sides."""
    time = np.arange(round(seconds * SEPARATION_RATE)) / SEPARATION_RATE
    voice, music = 0.3 * np.sin(2 * np.pi * 300 * time), 0.1 * np.sin(2 * np.pi * 1000 * time)
    return np.stack([voice + music, voice - music]).astype(np.float32), np.stack([music, -music])


@pytest.mark.parametrize("model", ["uvr", "spleeter"])
def test_the_music_is_what_the_network_says(request: pytest.FixtureRequest, model: str) -> None:
    pytest.importorskip("sherpa_onnx")
    engine = load("separation", "sherpa-onnx", SeparationSettings(model=str(request.getfixturevalue(model))))
    original, music = sound()
    made, short = engine.separate([original, original[:, : 3 * SEPARATION_RATE]])
    assert made.shape == original.shape and short.shape == (2, 3 * SEPARATION_RATE)
    assert made.dtype == np.float32
    inside = slice(SEPARATION_RATE, -SEPARATION_RATE)  # the rest is there to be cut off
    assert np.abs(made - music)[:, inside].max() < 0.002
    assert engine.separate([]) == []


def manifest(folder: Path) -> None:
    files = {path.name: File(bytes=path.stat().st_size, sha256="0" * 64) for path in folder.glob("*.onnx")}
    told = Manifest(kind="separation", source="x", revision="", quantisation="none", created="2026-01-01", files=files)
    (folder / MANIFEST).write_text(told.model_dump_json())


def test_an_artifact_is_whole_or_refused(spleeter: Path) -> None:
    pytest.importorskip("sherpa_onnx")
    manifest(spleeter)
    assert load("separation", "sherpa-onnx", SeparationSettings(model=str(spleeter)))
    half = (spleeter / "vocals.onnx").read_bytes()[:-10]
    (spleeter / "vocals.onnx").write_bytes(half)
    with pytest.raises(ArtifactMissing, match=r"vocals\.onnx of spleeter is missing or cut short"):
        load("separation", "sherpa-onnx", SeparationSettings(model=str(spleeter)))


def test_without_a_model_there_is_no_engine_and_with_half_a_setting_an_error() -> None:
    assert separating(SeparationSettings()) is None
    assert separating(SeparationSettings(engine="echo")) is not None
    with pytest.raises(ArtifactMissing, match="no file that exists, nor owner/name of a hub"):
        separating(SeparationSettings(model="/nobody.onnx"))


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sherpa_onnx", None)
    with pytest.raises(ArtifactMissing, match=r"pip install 'dubserve\[separation\]'"):
        sherpa.SherpaSeparator(SeparationSettings(model="a.onnx"))


def test_files_that_are_no_such_model_are_refused_before_the_library_sees_them(
    uvr: Path, spleeter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sherpa, "library", lambda *_, **__: None)
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "empty").mkdir()
    other = save(tmp_path / "other.onnx", [helper.make_node("Relu", ["x"], ["y"])], [tensor("x", [1])],
                 [tensor("y", [1])], {}, {**UVR, "sample_rate": "16000"})  # fmt: skip
    for model, told in (
        ("", "model is empty"),
        (tmp_path / "text.onnx", "cannot be read"),
        (spleeter / "vocals.onnx", r"no UVR model for sherpa-onnx \(it does not say its center"),
        (other, r"no UVR model for sherpa-onnx \(it does not say its sample_rate"),
        (tmp_path / "empty", r"a folder without a model: it needs vocals\.onnx"),
    ):
        with pytest.raises(ArtifactMissing, match=told) as failure:
            sherpa.SherpaSeparator(SeparationSettings(model=str(model)))
        assert str(tmp_path) not in str(failure.value)
    (spleeter / "vocals.onnx").write_bytes(uvr.read_bytes())
    with pytest.raises(ArtifactMissing, match="no Spleeter model for sherpa-onnx"):
        sherpa.SherpaSeparator(SeparationSettings(model=str(spleeter)))
