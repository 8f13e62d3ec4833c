"""Many models in one go: pairs of languages become the models that serve them, and one that fails ends only itself.

What is there already, whole by its checksums and made in the way that is asked for, is left alone, so that a batch that
was interrupted goes on where it stood when it is started again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from export.languages import languages
from export.origin import source_name
from export.translation import Order, export
from models.artifact import Artifact, damaged, read
from models.errors import ArtifactMissing, DubError
from models.translation.pairs import MODELS, Pair, check, missing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`state` is made, there or failed; `reason` is empty unless it failed."""

    order: Order
    state: str
    artifact: Artifact | None = None
    reason: str = ""


def named(model: str, root: Path, quantise: bool = True) -> Order:
    """An order whose folder is called after the languages that the model's name tells."""
    sources, target = languages(model)
    return Order(model, root / "-".join((*sources, target)), quantise=quantise)


def for_pairs(pairs: Sequence[str], root: Path, quantise: bool = True) -> list[Order]:
    """The models that serve pairs such as en-de, or hy-fr, which takes two; each of them once.

    Raises ArtifactMissing for what is no pair, UnsupportedLanguage for an unknown language.
    """
    legs = dict.fromkeys(leg for pair in pairs for leg in missing((), *_parsed(pair)))
    return [_order(leg, root, quantise) for leg in legs]


def for_all(root: Path, quantise: bool = True) -> list[Order]:
    """Every model of the table."""
    return [_order(pair, root, quantise) for pair in MODELS]


def run(orders: Sequence[Order], again: bool = False, make: Callable[[Order], Artifact] = export) -> list[Outcome]:
    """Makes one after the other and prints which; with `again`, also those that are there."""
    outcomes = []
    for number, order in enumerate(orders, 1):
        print(f"[{number}/{len(orders)}] {order.model} → {order.out}", flush=True)
        outcomes.append(_one(order, again, make))
        if outcomes[-1].state != "made":
            print(outcomes[-1].reason or "is there already, whole", flush=True)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> Table:
    drawn = Table("model", "folder", "", "MB", "greedy same", "beam chrF", "thresholds, or why not")
    for outcome in outcomes:
        drawn.add_row(source_name(outcome.order.model), outcome.order.out.name, outcome.state, *_figures(outcome))
    return drawn


def _parsed(pair: str) -> Pair:
    source, dash, target = pair.partition("-")
    if not dash:
        raise ArtifactMissing(f"{pair!r} is no pair of languages; write --pair en-de")
    check(source, target)
    if source == target:
        raise ArtifactMissing(f"{pair} needs no model; give two different languages, such as --pair en-de")
    return source, target


def _order(pair: Pair, root: Path, quantise: bool) -> Order:
    model = MODELS[pair]
    return Order(model.name, root / "-".join(pair), prefix=model.prefix or None, quantise=quantise)


def _one(order: Order, again: bool, make: Callable[[Order], Artifact]) -> Outcome:
    there = None if again else _whole(order)
    if there:
        return Outcome(order, "there", there)
    try:
        return Outcome(order, "made", make(order))
    except DubError as error:
        return Outcome(order, "failed", reason=str(error))
    except Exception as error:  # the libraries' own surprises; the next model may be luckier
        log.debug("export of %s failed", order.model, exc_info=error)
        return Outcome(order, "failed", reason="it failed in an unforeseen way; export it alone to see how")


def _whole(order: Order) -> Artifact | None:
    """What is at the order's place, if it is what the order would make."""
    try:
        artifact = read(order.out)
    except ArtifactMissing:
        return None
    manifest = artifact.manifest
    fits = (manifest.source, manifest.quantisation) == (source_name(order.model), order.quantisation)
    return artifact if fits and not damaged(artifact) else None


def _figures(outcome: Outcome) -> tuple[str, str, str, str]:
    if not outcome.artifact:
        return "", "", "", outcome.reason
    manifest = outcome.artifact.manifest
    megabytes = f"{sum(file.bytes for file in manifest.files.values()) / 1e6:.1f}"
    greedy = manifest.scores.get("checkpoint.greedy", {}).get("same")
    beam = next((score["chrf"] for name, score in manifest.scores.items() if name.startswith("checkpoint.beam")), None)
    judged = "" if manifest.verdict is None else "met" if manifest.verdict.passed else "missed"
    return megabytes, "" if greedy is None else f"{greedy:.0%}", "" if beam is None else f"{beam:g}", judged
