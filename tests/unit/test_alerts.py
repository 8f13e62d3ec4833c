"""The dashboard and the alert rules, read by a PromQL parser: what they ask for is told at /metrics, label by label.

Prometheus says nothing of a metric or a label that does not exist: the rule is silent, and the panel empty.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql
import pytest
import yaml

from models import errors
from serve_app.jobs.job import State
from serve_app.telemetry import metrics, scrape
from serve_app.telemetry.engines import SHELVES
from tests.conftest import REPOSITORY

ADDED = {"job", "instance"}
"""Labels that Prometheus adds to all that it reads."""

PROMTOOL = shutil.which("promtool")
BOARD = json.loads((REPOSITORY / "configs/grafana/dubserve.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((REPOSITORY / "configs/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
SHOWN = [(target["expr"], target.get("legendFormat", "")) for panel in BOARD["panels"] for target in panel["targets"]]
WARNED = [(rule["expr"], json.dumps(rule["annotations"])) for rule in RULES]


def kinds(error: type[errors.DubError]) -> Iterator[type[errors.DubError]]:
    yield error
    for kind in error.__subclasses__():
        yield from kinds(kind)


VALUES = {
    "state": {state.value for state in State},
    "outcome": {state.value for state in State} | {"lost", "retried"},
    "code": {kind.code for kind in kinds(errors.DubError)},
    "shelf": set(SHELVES.values()),
}
"""What labels can say, where there are so many words and no more."""


def exposed() -> set[str]:
    """Names of all series that the service can tell."""
    parts = {"Counter": [""], "Histogram": ["_bucket", "_sum", "_count"]}
    names = {name + part for name, (kind, *_) in metrics.KINDS.items() for part in parts[kind.__name__]}
    return names | set(scrape.ROWS)


def labels_of(name: str) -> set[str]:
    """Those of a series that the service tells."""
    base = re.sub("_(bucket|sum|count)$", "", name)
    labels = metrics.KINDS[base][2] if base in metrics.KINDS else scrape.ROWS[base][1]
    return {*labels, *(["le"] if name.endswith("_bucket") else [])}


@dataclass
class Reading:
    """Goes through an expression and says what is wrong with it, and which labels its answer has."""

    faults: list[str]

    def read(self, node: Any, ranged: bool = False) -> set[str]:
        reader = getattr(self, type(node).__name__, None)
        assert reader is not None, f"nobody has said how to read a {type(node).__name__}"
        found: set[str] = reader(node, ranged) if reader == self.VectorSelector else reader(node)
        return found

    def VectorSelector(self, node: Any, ranged: bool) -> set[str]:  # noqa: N802
        if node.name not in exposed():
            self.faults.append(f"there is no {node.name}")
            return set()
        there = labels_of(node.name) | ADDED
        for matcher in node.matchers.matchers:
            if matcher.name not in there:
                self.faults.append(f"{node.name} has no label {matcher.name}")
            known = VALUES.get(matcher.name)
            asked = matcher.value.split("|") if known else []
            self.faults += [f"{matcher.name} is never {one}" for one in asked if known and one not in known]
        counts = node.name not in scrape.ROWS
        if counts and not ranged:
            self.faults.append(f"{node.name} only ever grows: its rate is of use")
        if ranged and not counts:
            self.faults.append(f"{node.name} goes up and down, so it has no rate")
        return there

    def MatrixSelector(self, node: Any) -> set[str]:  # noqa: N802
        return self.read(node.vector_selector, ranged=True)

    def Call(self, node: Any) -> set[str]:  # noqa: N802
        labels = set[str]().union(*map(self.read, node.args))
        if node.func.name in ("absent", "vector"):
            return set()
        return labels - {"le"} if node.func.name == "histogram_quantile" else labels

    def AggregateExpr(self, node: Any) -> set[str]:  # noqa: N802
        inside = self.read(node.expr)
        kept = set(node.modifier.labels) if node.modifier else set[str]()
        assert node.modifier is None or node.modifier.type == promql.AggModifierType.By
        self.faults += [f"{label} is no label of what is summed up" for label in kept - inside]
        return kept

    def BinaryExpr(self, node: Any) -> set[str]:  # noqa: N802
        sides = [self.read(side) for side in (node.lhs, node.rhs) if not isinstance(side, promql.NumberLiteral)]
        for side in sides[1:]:
            if side != sides[0]:
                self.faults.append(f"the sides have labels of their own and never meet: {sides}")
        return sides[0]

    def ParenExpr(self, node: Any) -> set[str]:  # noqa: N802
        return self.read(node.expr)

    def NumberLiteral(self, _: Any) -> set[str]:  # noqa: N802
        return set()


def faults(expression: str, text: str = "") -> list[str]:
    """What is wrong with an expression, and with a text that speaks of the labels of its answer."""
    reading = Reading([])
    labels = reading.read(promql.parse(expression))
    named = re.findall(r"{{\s*\$labels\.(\w+)", text) + re.findall(r"{{\s*(\w+)\s*}}", text)
    return reading.faults + [f"the answer has no label {name}" for name in named if name not in labels]


@pytest.mark.parametrize(("expression", "text"), SHOWN + WARNED)
def test_what_is_asked_for_is_told(expression: str, text: str) -> None:
    assert faults(expression, text) == []


def test_everything_has_its_panel_and_every_alert_its_advice() -> None:
    assert len(SHOWN) > 15 and len(WARNED) > 5
    asked = {name for expression, _ in SHOWN for name in re.findall(r"\bdubserve_\w+", expression)}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} == {*metrics.KINDS, *scrape.ROWS}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]]
    assert len(set(places)) == len({panel["id"] for panel in BOARD["panels"]}) == len(places)
    told = (REPOSITORY / "docs/observability.md").read_text()
    for rule in RULES:
        assert f"`{rule['alert']}`" in told and rule["annotations"]["summary"] and rule["annotations"]["description"]


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed (it is in Debian's package prometheus)")
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    command = [PROMTOOL, "test", "rules", str(REPOSITORY / "tests/data/alerts.yaml")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # type: ignore[arg-type]
    assert ran.returncode == 0, ran.stdout + ran.stderr
    tried = yaml.safe_load((REPOSITORY / "tests/data/alerts.yaml").read_text())["tests"]
    fired = {check["alertname"] for one in tried for check in one["alert_rule_test"] if check.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize(
    ("expression", "text", "fault"),
    [
        ("dubserve_job", "", "there is no dubserve_job"),
        ('dubserve_jobs{tenant="x"}', "", "no label tenant"),
        ('dubserve_jobs{state="asleep"}', "", "state is never asleep"),
        ("dubserve_calls_total > 1", "", "its rate is of use"),
        ("rate(dubserve_jobs[5m])", "", "has no rate"),
        ("sum by (shelf) (rate(dubserve_calls_total[5m]))", "", "shelf is no label"),
        ("sum(rate(dubserve_calls_total[5m]))", "{{door}}", "no label door"),
        ("sum by (code) (rate(dubserve_failures_total[5m]))", "{{ $labels.stage }}", "no label stage"),
        ("sum(dubserve_jobs) > 0 and dubserve_oldest_waiting_seconds > 9", "", "never meet"),
    ],
)
def test_a_fault_is_seen(expression: str, text: str, fault: str) -> None:
    assert any(fault in one for one in faults(expression, text)), faults(expression, text)


def test_what_does_not_parse_is_seen() -> None:
    for expression in ("sum(dubserve_jobs", "rate(dubserve_jobs)"):
        with pytest.raises(ValueError, match=r"parenthesis|matrix"):
            promql.parse(expression)
