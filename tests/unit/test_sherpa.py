"""sherpa-onnx itself, on networks of a few weights in place of its models: loud is speech, timbre is the voice."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from configs.engines import SpeakerSettings
from models.errors import ArtifactMissing
from models.registry import load
from models.segment import RECOGNITION_RATE, Clip
from models.speaker import sherpa

WINDOW, FIELD, SHIFT = 10 * RECOGNITION_RATE, 991, 270
SEGMENTATION = {
    "num_speakers": "3",
    "powerset_max_classes": "2",
    "num_classes": "7",
    "sample_rate": "16000",
    "window_size": str(WINDOW),
    "receptive_field_size": str(FIELD),
    "receptive_field_shift": str(SHIFT),
}
EMBEDDING = {
    "framework": "wespeaker",
    "language": "English",
    "url": "",
    "comment": "",
    "sample_rate": "16000",
    "output_dim": "80",
    "normalize_samples": "1",
    "feature_normalize_type": "",
}


def save(path: Path, nodes, inputs, outputs, constants, metadata) -> Path:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture
def segmentation(tmp_path: Path) -> Path:
    """Loud frames are the first of three speakers' (class 1 of the powerset), the others are nobody's (class 0)."""
    nodes = [
        helper.make_node("Abs", ["x"], ["loud"]),
        helper.make_node("AveragePool", ["loud"], ["mean"], kernel_shape=[FIELD], strides=[SHIFT]),
        helper.make_node("Transpose", ["mean"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "weight"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["y"]),
    ]
    constants = {
        "weight": np.array([[-100, 100, 0, 0, 0, 0, 0]], np.float32),
        "bias": np.array([2, -2, -50, -50, -50, -50, -50], np.float32),
    }
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, "T"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "F", 7])
    return save(tmp_path / "segmentation.onnx", nodes, [x], [y], constants, SEGMENTATION)


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    """The print of a voice is its mean spectrum."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["mean"], ["level"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["mean", "level"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", 80])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 80])
    return save(tmp_path / "embedding.onnx", nodes, [x], [y], {}, EMBEDDING)


def tone(hertz: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RECOGNITION_RATE)) / RECOGNITION_RATE
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def settings(segmentation: Path | str, embedding: Path | str) -> SpeakerSettings:
    return SpeakerSettings(segmentation=str(segmentation), embedding=str(embedding))


def test_voices_of_a_clip_are_told_apart(segmentation: Path, embedding: Path) -> None:
    pytest.importorskip("sherpa_onnx")
    engine = load("speaker", "sherpa-onnx", settings(segmentation, embedding))
    pause = np.zeros(12 * RECOGNITION_RATE, np.float32)  # no window of the segmentation hears two of them
    audio = np.concatenate([tone(250, 6), pause, tone(3000, 6), pause, tone(250, 6)])
    voices, none = engine.diarize([Clip(audio, start=100.0), Clip(audio[:100])])
    assert none == []
    low, high = voices
    assert [(round(span.start), round(span.end)) for span in low.spans] == [(100, 106), (136, 142)]
    assert [(round(span.start), round(span.end)) for span in high.spans] == [(118, 124)]
    one, two = (np.array(voice.print) / np.linalg.norm(voice.print) for voice in (low, high))
    assert one @ two < 0.5
    [again] = engine.diarize([Clip(tone(250, 8))])
    assert np.array(again[0].print) @ one / np.linalg.norm(again[0].print) > 0.95


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sherpa_onnx", None)
    with pytest.raises(ArtifactMissing, match=r"pip install 'dubserve\[speakers\]'"):
        sherpa.SherpaDiarizer(settings("a.onnx", "b.onnx"))


def test_a_file_that_is_no_such_model_is_refused_before_the_library_sees_it(
    segmentation: Path, embedding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sherpa, "library", lambda *_, **__: None)
    (tmp_path / "text.onnx").write_text("no network")
    for one, two, told in (
        (embedding, embedding, "segmentation is no segmentation model"),
        (segmentation, segmentation, "embedding is no embedding model"),
        (tmp_path / "text.onnx", embedding, "segmentation cannot be read"),
        ("", embedding, "segmentation is empty"),
        (segmentation, tmp_path / "gone.onnx", "embedding is no file that exists"),
        (segmentation, "no hub name", "embedding is no file that exists"),
    ):
        with pytest.raises(ArtifactMissing, match=told) as failure:
            sherpa.SherpaDiarizer(settings(one, two))
        assert str(tmp_path) not in str(failure.value)


def test_models_come_from_the_hub(monkeypatch: pytest.MonkeyPatch, segmentation: Path) -> None:
    asked = []

    def download(repository: str, file: str) -> str:
        asked.append((repository, file))
        if "gone" in repository:
            raise OSError("no network")
        return str(segmentation)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    keys = sherpa.SEGMENTATION_KEYS
    assert sherpa._located("segmentation", "owner/name", keys) == segmentation
    assert sherpa._located("segmentation", "owner/name/a/b.onnx", keys) == segmentation
    assert asked == [("owner/name", "model.onnx"), ("owner/name", "a/b.onnx")]
    with pytest.raises(ArtifactMissing, match=r"hf download owner/gone model\.onnx"):
        sherpa._located("segmentation", "owner/gone", keys)
