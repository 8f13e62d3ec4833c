"""float16 artifacts: close to fp32, and the same tokens whether caches lie in pages of the host or on a device."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from configs.engines import TranslationSettings
from export.__main__ import app
from export.translation import Order, export
from models.artifact import Artifact, read
from models.translation.marian import MarianModel
from models.translation.network import Network, _session
from tests.weights.test_export import TEXTS

CHECKPOINT = Path(__file__).parents[3] / "shared" / "demo_mt" / "checkpoint"
CPU: Any = ["CPUExecutionProvider"]

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    if not CHECKPOINT.is_dir():
        pytest.skip("the demo checkpoint is not there")
    out = tmp_path_factory.mktemp("half") / "en-es"
    command = ["translation", str(CHECKPOINT), "--source", "en", "--target", "es", "--out", str(out), "--fp16"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    return read(out)


def engine(artifact: Artifact, resident: bool = False, **settings: Any) -> MarianModel:
    """With `resident`, caches are kept as on a device, which is the processor here."""
    model = MarianModel(artifact, TranslationSettings(device="cpu", **({"beam_size": 1} | settings)))
    if resident:
        network: Network = model._batcher._network
        network.carry = _session(artifact.path("carry.onnx"), CPU)
    return model


def test_weights_and_caches_are_float16_and_logits_are_not(half: Artifact) -> None:
    assert half.manifest.quantisation == "float16"
    assert "--fp16" in half.manifest.command
    decoder, projection = (onnx.load(half.path(f"{name}.onnx")).graph for name in ("decoder", "projection"))
    caches = [x.type.tensor_type.elem_type for x in decoder.input if "_keys_" in x.name or "_values_" in x.name]
    assert caches and set(caches) == {TensorProto.FLOAT16}
    floats = {x.data_type for graph in (decoder, projection) for x in graph.initializer} - {TensorProto.INT64}
    assert floats == {TensorProto.FLOAT16}
    assert projection.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_it_has_thresholds_of_its_own_and_meets_them(half: Artifact) -> None:
    verdict = half.manifest.verdict
    assert verdict and verdict.passed
    assert verdict.thresholds["logit_error"] == 0.01
    assert half.manifest.scores["checkpoint.greedy"]["logit_error"] > 0


def test_nearly_all_sentences_are_those_of_fp32(half: Artifact, tmp_path: Path) -> None:
    exact = export(Order(str(CHECKPOINT), tmp_path / "en-es", ("en",), "es", quantise=False, sentences=("Yes.",)))
    small, large = (sum(file.bytes for file in one.manifest.files.values()) for one in (half, exact))
    assert small < 0.6 * large
    for beams in (1, 4):
        ours, theirs = (engine(artifact, beam_size=beams).translate(TEXTS) for artifact in (half, exact))
        assert sum(a == b for a, b in zip(ours, theirs, strict=True)) >= 0.95 * len(TEXTS)


@pytest.mark.parametrize("beams", [1, 4])
def test_rows_on_a_device_say_what_rows_in_pages_say(half: Artifact, beams: int) -> None:
    """Sentences of many lengths join, leave and change places on a budget that a few of them fill."""
    there, here = (engine(half, resident, beam_size=beams, cache_tokens=700) for resident in (True, False))
    rows = [here.tokenizer.encode(text) for text in TEXTS]
    openings = [list(here.tokenizer.spellings("el")[0])[: i % 2] for i in range(len(rows))]
    assert there.generate(rows, openings) == here.generate(rows, openings)
    assert [there.generate([row])[0] for row in rows[:4]] == here.generate(rows[:4])
