"""Translation speed: this product's engine beside CTranslate2 int8 and torch fp32, on the same checkpoint.

Where a decoder step goes, for opus-mt sizes (6 layers of width 512, feed-forward 2,048, 65,001 words), in multiply-adds
for one token of one sentence:

    self-attention      6 × 4 × 512 × 512      6.3 M    queries, keys, values, output
    cross-attention     6 × 2 × 512 × 512      3.1 M    keys and values are computed once a sentence
    feed-forward        6 × 2 × 512 × 2,048   12.6 M
    vocabulary          512 × 65,001          33.3 M    60 % of 55.3 M

At batch 1 each weight is read once for one multiply-add: 55 MB in int8 for every token, so memory sets the pace, and
whatever starts kernels or copies caches comes on top. At batch 32 each weight serves 32 rows and arithmetic sets the
pace, as long as the rows are full: sentences that have ended, and padding to the longest, are work for nothing.
The ways to be faster are therefore fewer words in the projection, full rows, and few kernels and no copies per step.

The vocabulary is the union of two sides, as that of the opus-mt models is. Ours projects on the target side's half,
since no target sentence was ever made of other pieces; CTranslate2 projects on all unless it is given a lexicon, which
takes a corpus of the pair, and is run as one gets it from its converter.

The engines take turns, round by round, on the same pinned threads; a ratio is the median over rounds of (ours ÷ theirs
in the same round), so that a slow minute of the machine hits both. CTranslate2 counts with its faster setting, the one
with the higher median. What it does not tell: other processors, GPUs, and quality; `export verify` is about the latter.
"""

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from export.bench import report
from export.bench.checkpoint import SIZES, write
from export.bench.engines import CTRANSLATE2, OURS, TORCH, Choice, Engine, Rows, Window
from export.bench.memory import Weight, weigh
from export.bench.work import Scenario, counting, pinned, run, scenarios
from export.probes import PROBES
from models.artifact import read
from models.errors import ArtifactMissing
from models.translation.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. Without a checkpoint a random one of `size` is made; without an artifact it is exported.

    `only` keeps the scenarios whose name holds it; `requests` are the sentences of one client.
    """

    out: Path
    size: str = "opus"
    artifact: Path | None = None
    checkpoint: Path | None = None
    sentences: tuple[str, ...] = ()
    rounds: int = 6
    threads: int = 2
    requests: int = 2
    only: str = ""
    torch: bool = True


def bench(plan: Plan) -> str:
    """Measures, prints the table, writes the plot to `plan.out`, and returns the line of JSON.

    Raises ArtifactMissing when a library, the artifact or the checkpoint is missing, or the two do not fit.
    """
    _ready(plan)
    with warnings.catch_warnings(), pinned(plan.threads):
        warnings.simplefilter("ignore")
        choices, rows = _prepare(plan)
        # CTranslate2's settings differ in threads alone: the first one is weighed
        weights = {kind: weigh(choice, rows[:32]) for kind, choice in {c.kind: c for c in choices[::-1]}.items()}
        shelf = [scenario for scenario in scenarios(rows, plan.requests) if plan.only in scenario.name]
        results = _rounds(plan, [choice.build() for choice in choices], shelf)
    return _reported(plan, results, weights)


def _ready(plan: Plan) -> None:
    """Everything that can be known to be missing is asked for before minutes have gone by."""
    for library, extra in (("matplotlib", "bench"), ("torch", "export"), ("transformers", "export")):
        if find_spec(library) is None:
            raise ArtifactMissing(f"the benchmark needs {library}; install it with: pip install -e '.[{extra}]'")
    if plan.checkpoint and not plan.artifact:
        command = f"python -m export translation {plan.checkpoint} --out FOLDER"
        raise ArtifactMissing(f"add --artifact, the export of that checkpoint; make it with: {command}")
    if plan.size not in SIZES:
        raise ArtifactMissing(f"there is no size {plan.size!r}; choose one of: {', '.join(SIZES)}")


def _prepare(plan: Plan) -> tuple[list[Choice], Rows]:
    """Every engine's folder, made where it is not there, and the source rows."""
    room = plan.out / _name(plan)
    checkpoint = plan.checkpoint or write(SIZES[plan.size], room / "checkpoint")
    artifact = plan.artifact or _exported(checkpoint, room / "artifact")
    if _vocabulary(read(artifact).path("vocab.json")) != _vocabulary(checkpoint / "vocab.json"):
        raise ArtifactMissing(f"{artifact.name} is no export of {checkpoint.name}; give the artifact made from it")
    converted = _converted(checkpoint, room / "ctranslate2")
    choices = [Choice(OURS, artifact, plan.threads), Choice(CTRANSLATE2, converted, plan.threads)]
    if plan.threads > 1:
        choices.append(Choice(CTRANSLATE2, converted, plan.threads, workers=plan.threads))
    if plan.torch:
        choices.append(Choice(TORCH, checkpoint, plan.threads))
    return choices, _texts(artifact, plan.sentences) if plan.checkpoint else counting(SIZES[plan.size], 64)


def _name(plan: Plan) -> str:
    return plan.checkpoint.name if plan.checkpoint else plan.size


def _vocabulary(path: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _exported(checkpoint: Path, folder: Path) -> Path:
    """Made anew in every run: the exporter may have changed since."""
    from export.translation import Order, export

    export(Order(str(checkpoint), folder, ("en",), "es", prefix="", sentences=("Yes.",)))
    return folder


def _converted(checkpoint: Path, folder: Path) -> Path:
    if not (folder / "model.bin").is_file():
        from ctranslate2.converters import TransformersConverter

        folder.parent.mkdir(parents=True, exist_ok=True)
        TransformersConverter(str(checkpoint)).convert(str(folder), quantization="int8", force=True)
    return folder


def _texts(folder: Path, sentences: Sequence[str]) -> Rows:
    manifest, tokenizer = read(folder).manifest, Tokenizer(folder)
    texts = sentences or PROBES[manifest.source_languages[0]]
    return [tokenizer.encode(text, manifest.target_prefix) for text in texts]


def _rounds(plan: Plan, engines: list[Engine], shelf: list[Scenario]) -> report.Results:
    """One turn of everybody that is not counted, then `plan.rounds` that are."""
    results: report.Results = {}
    served = [engine for engine in engines if engine.name != TORCH]
    windows = [Window(engine) for engine in served if engine.name != OURS]
    for turn in range(plan.rounds + 1):
        for scenario in shelf:
            for engine in [*served, *windows] if scenario.clients else engines:
                if scenario.beam in engine.beams:
                    done = run(engine, scenario)
                    if turn:
                        results.setdefault((scenario.name, engine.name), []).append(done)
        print(f"round {turn} of {plan.rounds}" if turn else "warm", flush=True)
    return results


def _reported(plan: Plan, results: report.Results, weights: dict[str, Weight]) -> str:
    name = _name(plan)
    picture = plan.out / f"translation-{name}.png"
    report.table(results, weights)
    report.plot(results, picture)
    print(f"plot: {picture}")
    facts: dict[str, Any] = {
        "benchmark": "translation",
        "checkpoint": name,
        "rounds": plan.rounds,
        "threads": plan.threads,
    }
    # above `threads`, others were at work on this machine, and the spread says how much to believe
    facts["load_average"] = [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return report.line(facts, results, weights)
