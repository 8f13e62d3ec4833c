"""Recognition speed: this product's recogniser beside faster-whisper's two pipelines, with the same weights.

Where the time goes, for a Whisper of size tiny (4 + 4 layers of width 384), in multiply-adds:

    encoder, 30 s of sound    1,500 positions × 4 layers × 12 × 384²      10.6 G    and 6.9 G in its attention
    decoder, one token        4 layers × 16 × 384²                         9 M
    vocabulary, one token     384 × 51,864                                20 M      a beam of five: 0.15 G a token

A sentence of four seconds has some fifteen tokens: 2 G for the decoder, and 17 G for an encoder that looks at 26 s of
nothing behind it. So whoever pads every clip to 30 s spends nine tenths on silence, in a batch or out of it; and a
window that is short, or full, is what makes the difference. Word times cost one more pass of the decoder.

The engines take turns, round by round, on the same pinned threads; a ratio is the median over rounds of (ours ÷ theirs
in the same round). Ours is always asked for words and sentences, since the service never works without them: so it is
compared with the pipelines as they are and with their word times on. What it does not tell: GPUs, large models, and
how well a human speaker is heard, unless recordings are given.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from configs.engines import AsrSettings
from export.bench import recognition_report as report
from export.bench import recordings
from export.bench.hearing import Load, Scene, take, weigh
from export.bench.listeners import BATCHED, BEAM, OURS, WHISPER, Pick
from export.bench.recognition_report import LONG, Results
from export.bench.recordings import Recording
from export.bench.work import pinned
from models.asr.weights import locate
from models.errors import ArtifactMissing

SHORTEST_S, LONGEST_S = 3.0, 10.0
"""Of a short clip."""

SILENCE_S = 20.0
"""In the long file, once."""

TOGETHER = 3
"""Sentences of one language in a recording of the mixed scene: from one alone, nobody tells a synthetic voice's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. `given` is a list of real recordings; `only` keeps the scenes whose name holds it."""

    out: Path
    model: str = "tiny.en"
    mixed_model: str = "base"
    given: Path | None = None
    rounds: int = 3
    threads: int = 2
    clients: int = 16
    only: str = ""


def bench(plan: Plan) -> str:
    """Measures, prints the table, writes the plot to `plan.out`, and returns the line of JSON.

    Raises ArtifactMissing when a library or a model is missing, or the list of recordings cannot be read.
    """
    _ready()
    with warnings.catch_warnings(), pinned(plan.threads):
        warnings.simplefilter("ignore")
        shelf = [scene for scene in scenes(plan) if plan.only in scene.name]
        loads = _loads(shelf)
        return _reported(plan, shelf, _rounds(plan, shelf), loads)


def _ready() -> None:
    for library, extra in (("matplotlib", "bench"), ("jiwer", "bench"), ("transformers", "export")):
        if find_spec(library) is None:
            raise ArtifactMissing(f"the benchmark needs {library}; install it with: pip install -e '.[{extra}]'")


def scenes(plan: Plan) -> list[Scene]:
    """long: one file of speech and pauses. clips: short ones at once. mixed: three languages at once, none told."""
    folder = plan.out / "speech"
    english = recordings.spoken("en", 20, folder)
    given = recordings.listed(plan.given, folder) if plan.given else []
    whole = [*(one for one in given if one.language == "en"), recordings.golden(folder), *english]
    short = [one for one in [*given, *english] if one.language == "en" and SHORTEST_S <= one.seconds <= LONGEST_S]
    rivals = [Pick(kind, plan.model, plan.threads, words) for kind in (WHISPER, BATCHED) for words in (False, True)]
    ours = Pick(OURS, plan.model, plan.threads)
    return [
        Scene(LONG, (recordings.joined(whole, folder / "long.wav", SILENCE_S),), (ours, *rivals)),
        Scene("clips", tuple(short[: plan.clients]), (ours, *(pick for pick in rivals if not pick.words))),
        *mixed(plan, given, folder),
    ]


def mixed(plan: Plan, given: Sequence[Recording], folder: Path) -> list[Scene]:
    """Nothing where the multilingual model is not on this machine: a benchmark downloads none."""
    if not isinstance(locate(plan.mixed_model), Path):
        return []
    several = [one for one in given if one.language != "en"]
    for language in ("en", "es", "de"):
        read = recordings.spoken(language, 2 * TOGETHER, folder)
        for at in range(0, len(read), TOGETHER):
            several.append(recordings.joined(read[at : at + TOGETHER], folder / f"mixed-{language}-{at}.wav"))
    picks = tuple(Pick(kind, plan.mixed_model, plan.threads) for kind in (OURS, WHISPER, BATCHED))
    return [Scene("mixed", tuple(several), picks, told=False)]


def _loads(shelf: Sequence[Scene]) -> dict[str, Load]:
    """What each listener of the long file weighs after it."""
    return {
        pick.name: weigh(pick, scene.recordings[0]) for scene in shelf if scene.name == LONG for pick in scene.picks
    }


def _rounds(plan: Plan, shelf: Sequence[Scene]) -> Results:
    """The golden recording for everybody, which is not counted, then `plan.rounds` that are."""
    results: Results = {}
    listeners = {pick: pick.build() for scene in shelf for pick in scene.picks}
    warm = recordings.golden(plan.out / "speech")
    for listener in listeners.values():
        listener.listen(warm.path, warm.language)
    for turn in range(1, plan.rounds + 1):
        for scene in shelf:
            for pick in scene.picks:
                results.setdefault((scene.name, pick.name), []).append(take(listeners[pick], scene))
        print(f"round {turn} of {plan.rounds}", flush=True)
    return results


def _reported(plan: Plan, shelf: Sequence[Scene], results: Results, loads: dict[str, Load]) -> str:
    picture = plan.out / f"recognition-{Path(plan.model).name}.png"
    found = report.Found(results, report.error_rates(shelf, results), loads)
    report.table(found)
    report.plot(found, picture)
    print(f"plot: {picture}")
    facts: dict[str, Any] = {
        "benchmark": "recognition",
        "model": Path(plan.model).name,
        "mixed_model": Path(plan.mixed_model).name,
        "rounds": plan.rounds,
        "threads": plan.threads,
        "beam": {OURS: AsrSettings().beam_size, "theirs": BEAM},
        "seconds_of_sound": {scene.name: round(sum(one.seconds for one in scene.recordings), 1) for scene in shelf},
    }
    # above `threads`, others were at work on this machine, and the spread says how much to believe
    facts["load_average"] = [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return report.line(facts, found)
