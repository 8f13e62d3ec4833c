"""The benchmark on a checkpoint of toy size: all engines do the same work, and what comes out can be read."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from export.bench.checkpoint import END, SIZES, counter, write
from export.bench.engines import CTRANSLATE2, OURS, TORCH, Choice, Window
from export.bench.memory import weigh
from export.bench.report import line
from export.bench.translation import Plan, bench
from export.bench.work import CLIENTS, Run, counting, scenarios
from models.errors import ArtifactMissing

TINY = SIZES["tiny"]
BATCHES = [f"batch{count}_beam1" for count in (1, 8, 32)]

pytestmark = pytest.mark.filterwarnings("ignore")
"""Tracing warns about constant branches."""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def found(room: Path) -> str:
    return bench(Plan(room, "tiny", rounds=1, requests=1, torch=False))


def expected(rows: list[list[int]]) -> list[list[int]]:
    """From the source's counter down to the first one, and the end."""
    return [[*range(row[0], counter(TINY, 2) - 1, -1), END] for row in rows]


def choices(room: Path) -> list[Choice]:
    folders = {OURS: "artifact", CTRANSLATE2: "ctranslate2", TORCH: "checkpoint"}
    return [Choice(kind, room / "tiny" / folder, 1) for kind, folder in folders.items()]


def test_the_last_line_is_json_with_positive_ratios(found: str) -> None:
    values = json.loads(found)
    ratios = [f"ratio_{name}" for name in (*BATCHES, "clients_request", "clients_window")]
    assert set(ratios) <= values.keys()
    for name in ratios:
        low, high = values[name.replace("ratio", "spread")]
        assert 0 < low <= values[name] <= high
        assert values[name.replace("ratio", "rival")].startswith("ctranslate2")


def test_everybody_said_the_same_in_every_scenario(found: str) -> None:
    values = json.loads(found)
    assert {*BATCHES, CLIENTS} <= values["agree"].keys()
    assert {share for shares in values["agree"].values() for share in shares.values()} == {1.0}
    assert len(values["tokens_per_s"]) == 7
    for low, high in values["p50_p95_s"].values():
        assert 0 < low <= high


def test_memory_and_load_come_from_children(found: str) -> None:
    weight = json.loads(found)["weight"]
    assert set(weight) == {OURS, CTRANSLATE2}
    for values in weight.values():
        assert 0 < values["base_mb"] < values["peak_mb"]


def test_the_plot_is_a_png(found: str, room: Path) -> None:
    assert found
    assert (room / "translation-tiny.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_every_engine_counts_down_from_what_the_source_asks_for(found: str, room: Path) -> None:
    assert found
    rows = counting(TINY, 6)
    assert len(set(map(len, expected(rows)))) > 2
    for choice in choices(room):
        engine = choice.build()
        for beam in engine.beams:
            assert engine.translate(rows, beam) == expected(rows), (choice.kind, beam)


def test_what_torch_weighs_is_measured_too(found: str, room: Path) -> None:
    assert found
    weight = weigh(choices(room)[2], counting(TINY, 2))
    assert 0 < weight.base_mb < weight.peak_mb


def test_a_checkpoint_is_made_once_and_always_the_same(tmp_path: Path) -> None:
    first, second = write(TINY, tmp_path / "a"), write(TINY, tmp_path / "b")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    (first / "model.safetensors").write_bytes(b"mine")
    assert (write(TINY, first) / "model.safetensors").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


class Deaf:
    """Says its own place back, but for rows that begin with 0."""

    name, beams = "deaf", (1,)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def translate(self, rows: list[list[int]], beam: int) -> list[list[int]]:
        self.batches.append(len(rows))
        if [0] in rows:
            raise RuntimeError("0 was asked for")
        return rows


def test_a_window_gathers_requests_and_passes_errors_on() -> None:
    engine = Deaf()
    window = Window(engine, wait_s=0.5, most=4)
    assert window.translate([[1], [2], [3], [4], [5]], 1) == [[1], [2], [3], [4], [5]]
    assert engine.batches == [4, 1]
    with pytest.raises(RuntimeError, match="0 was asked for"):
        window.translate([[0]], 1)
    assert window.translate([[6]], 1) == [[6]]


def test_ratios_are_medians_against_the_faster_setting() -> None:
    def runs(*seconds: float) -> list[Run]:
        return [Run(12, second, ((1, 0),), (second,)) for second in seconds]

    results = {("batch8_beam1", OURS): runs(1, 2, 4), ("batch8_beam1", "ctranslate2 2x1"): runs(9, 9, 9)}
    results |= {("batch8_beam1", "ctranslate2 1x2"): runs(2, 2, 2), ("batch8_beam1", TORCH): runs(4, 8, 8)}
    values = json.loads(line({}, results, {}))
    assert (values["ratio_batch8_beam1"], values["spread_batch8_beam1"]) == (1.0, [0.5, 2.0])
    assert values["rival_batch8_beam1"] == "ctranslate2 1x2"
    assert values["ratio_batch8_beam1_torch"] == 4.0
    assert values["tokens_per_s"]["batch8_beam1"][OURS] == 6.0


def test_few_rows_are_repeated_until_every_client_has_some() -> None:
    shelf = {scenario.name: scenario for scenario in scenarios([[1, 0], [2, 0]], requests=3)}
    assert [len(shelf[name].batches[0]) for name in BATCHES] == [1, 8, 32]
    assert [len(rows) for rows in shelf[CLIENTS].batches] == [3] * 32
    assert shelf[CLIENTS].batches[1] == [[2, 0], [1, 0], [2, 0]]


def test_what_is_missing_is_said_before_anything_runs(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(room, "tiny")
    with pytest.raises(ArtifactMissing, match="no size 'huge'; choose one of: opus, tiny"):
        bench(replace(plan, size="huge"))
    with pytest.raises(ArtifactMissing, match="add --artifact"):
        bench(replace(plan, checkpoint=room))
    monkeypatch.setattr("export.bench.translation.find_spec", lambda name: None)
    with pytest.raises(ArtifactMissing, match=r"needs matplotlib; install it with: pip install -e '\.\[bench\]'"):
        bench(plan)


def test_an_artifact_of_another_checkpoint_is_refused(found: str, room: Path) -> None:
    assert found
    demo = Path(__file__).parents[2] / "models" / "demo" / "en-es"
    with pytest.raises(ArtifactMissing, match="en-es is no export of checkpoint"):
        bench(Plan(room, "tiny", artifact=demo))


def test_lengths_follow_the_seed_and_stay_in_bounds() -> None:
    rows = counting(SIZES["opus"], 64)
    asked = [len(range(counter(SIZES["opus"], 2), row[0] + 1)) + 1 for row in rows]
    assert rows == counting(SIZES["opus"], 64)
    assert 3 <= min(asked) < max(asked) <= SIZES["opus"].longest
    assert math.isclose(sorted(asked)[32], 22, abs_tol=5)
