"""A checkpoint as TensorFlow writes it becomes the network that it was, layer by layer."""

import struct
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from export import separation
from export.separation import Order, checkpoint, export
from models.errors import ArtifactMissing
from models.separation.sherpa import SPLEETER
from models.sherpa import metadata

WIDTHS = (2, 3, 4, 5, 6, 7)


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Every second name shares what it can with the one before."""
    written, before = b"", b""
    for number, (name, value) in enumerate(entries):
        same = next((n for n in range(min(len(name), len(before))) if name[n] != before[n]), 0) if number % 2 else 0
        written += varint(same) + varint(len(name) - same) + varint(len(value)) + name[same:] + value
        before = name
    return written + struct.pack("<II", 0, 1)


def write(folder: Path, weights: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    data, entries = b"", [(b"", b"\x08\x01")]  # the head of the table is no tensor
    for name in sorted(weights):
        shape = b"".join(
            b"\x12" + varint(len(size)) + size for size in (b"\x08" + varint(n) for n in weights[name].shape)
        )
        value = weights[name].astype("<f4").tobytes()
        place = (b"\x20" + varint(len(data)) if data else b"") + b"\x28" + varint(len(value))
        entries.append((name.encode(), b"\x08\x01\x12" + varint(len(shape)) + shape + place + b"\x35abcd"))
        data += value
    first, second = block(entries[:40]), block(entries[40:])
    places = [varint(0) + varint(len(first)), varint(len(first) + 5) + varint(len(second))]
    top = block([(b"m", places[0]), (b"z", places[1])])
    blocks = first + bytes(5) + second + bytes(5)
    footer = varint(0) + varint(0) + varint(len(blocks)) + varint(len(top))
    (folder / "model.index").write_bytes(blocks + top + bytes(5) + footer + bytes(48 - len(footer)))
    (folder / "model.data-00000-of-00001").write_bytes(data)
    return folder


def numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def random_weights() -> dict[str, np.ndarray]:
    rng, found = np.random.default_rng(1), {}
    for stem in range(2):
        for n, width in enumerate((*WIDTHS, 2)):
            shape = (5, 5, WIDTHS[n - 1] if n else 2, width) if n < 6 else (4, 4, 1, 2)
            found |= {f"{numbered('conv2d', 7 * stem + n)}/kernel": rng.normal(0, 0.2, shape)}
            found |= {f"{numbered('conv2d', 7 * stem + n)}/bias": rng.normal(0, 0.2, width)}
        for n, width in enumerate((6, 5, 4, 3, 2, 1)):
            name = numbered("conv2d_transpose", 6 * stem + n)
            found |= {f"{name}/kernel": rng.normal(0, 0.2, (5, 5, width, WIDTHS[5 - n] * (2 if n else 1)))}
            found |= {f"{name}/bias": rng.normal(0, 0.2, width)}
        for n, width in enumerate((*WIDTHS, 6, 5, 4, 3, 2, 1)):
            name = numbered("batch_normalization", 12 * stem + n)
            parts = ("gamma", "beta", "moving_mean", "moving_variance")
            found |= {f"{name}/{part}": rng.uniform(0.5, 1.5, width) for part in parts}
    return {name: value.astype(np.float32) for name, value in found.items()}


def original(weights: dict[str, np.ndarray], stem: int, sound: np.ndarray) -> np.ndarray:
    """The same network in torch, with TensorFlow's "same" padding."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    def tensor(name: str) -> "torch.Tensor":
        return torch.from_numpy(np.ascontiguousarray(weights[name]))

    def norm(x: "torch.Tensor", n: int) -> "torch.Tensor":
        name = numbered("batch_normalization", 12 * stem + n)
        parts = [tensor(f"{name}/{part}") for part in ("moving_mean", "moving_variance", "gamma", "beta")]
        return functional.batch_norm(x, *parts, eps=1e-3)

    def conv(x: "torch.Tensor", n: int, **options: int) -> "torch.Tensor":
        name = numbered("conv2d", 7 * stem + n)
        return functional.conv2d(x, tensor(f"{name}/kernel").permute(3, 2, 0, 1), tensor(f"{name}/bias"), **options)

    x = whole = torch.from_numpy(sound).permute(1, 0, 2, 3)
    down = []
    for n in range(6):
        down.append(conv(functional.pad(x, (1, 2, 1, 2)), n, stride=2))
        x = functional.leaky_relu(norm(down[-1], n), 0.2)
    x = down[-1]
    for n in range(6):
        name = numbered("conv2d_transpose", 6 * stem + n)
        kernel = tensor(f"{name}/kernel").permute(3, 2, 0, 1)
        x = functional.conv_transpose2d(x, kernel, tensor(f"{name}/bias"), stride=2)[:, :, 1:-2, 1:-2]
        x = norm(functional.relu(x), 6 + n)
        x = torch.cat([down[4 - n], x], 1) if n < 5 else x
    return (torch.sigmoid(conv(x, 6, dilation=2, padding=3)) * whole).permute(1, 0, 2, 3).numpy()


def test_the_network_is_the_one_that_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "WIDTHS", WIDTHS)
    monkeypatch.setattr(separation, "FRAMES", 64)
    monkeypatch.setattr(separation, "BINS", 128)
    weights = random_weights()
    source = write(tmp_path / "2stems", weights)
    read = checkpoint(source)
    assert read.keys() == weights.keys()
    assert all(np.array_equal(read[name], weights[name]) for name in weights)

    artifact = export(Order(source, tmp_path / "out"))
    assert (artifact.manifest.kind, artifact.manifest.licence) == ("separation", "MIT")
    assert artifact.manifest.command == "python -m export separation 2stems --out models/local/2stems"
    sound = np.random.default_rng(2).uniform(0, 1, (2, 3, 64, 128)).astype(np.float32)
    for number, stem in enumerate(("vocals", "accompaniment")):
        path = tmp_path / "out" / f"{stem}.onnx"
        assert metadata("x", path, "Spleeter", SPLEETER)
        [made] = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": sound})
        assert made == pytest.approx(original(weights, number, sound), abs=1e-4)


def test_another_or_a_damaged_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactMissing, match="no checkpoint of TensorFlow"):
        export(Order(tmp_path, tmp_path / "out"))
    source = write(tmp_path / "small", random_weights())
    with pytest.raises(ArtifactMissing, match=r"no checkpoint of Spleeter with two stems: conv2d/kernel"):
        export(Order(source, tmp_path / "out"))
    data = source / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-8])
    with pytest.raises(ArtifactMissing, match="damaged"):
        export(Order(source, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
