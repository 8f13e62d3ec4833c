"""The fairness rule, for any mix of tenants."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.jobs.schedule import Candidate, fairest

TENANTS = ("a", "b", "c")
counts = st.dictionaries(st.sampled_from(TENANTS), st.integers(0, 20))
weights = st.dictionaries(st.sampled_from(TENANTS), st.floats(0.1, 10))
candidates = st.lists(
    st.builds(Candidate, st.uuids().map(str), st.sampled_from(TENANTS), st.floats(0, 1e6)),
    max_size=12,
    unique_by=lambda candidate: candidate.job_id,
)


def serve(backlog: dict[str, int], weights: dict[str, float], slots: int, turns: int) -> list[str]:
    """Tenants in the order of service, with `slots` jobs running at a time, the oldest one ending first."""
    waiting = [Candidate(f"{tenant}{n:03}", tenant, n) for tenant, many in backlog.items() for n in range(many)]
    running: list[str] = []
    served: list[str] = []
    for _ in range(turns):
        chosen = fairest(waiting, Counter(running), Counter(served), weights)[0]
        waiting.remove(chosen)
        served.append(chosen.tenant)
        running = [*running, chosen.tenant][-slots + 1 :] if slots > 1 else []
    return served


@given(candidates, counts, counts, weights)
def test_every_candidate_is_there_once_whatever_order_they_came_in(
    waiting: list[Candidate], running: dict[str, int], recent: dict[str, int], weights: dict[str, float]
) -> None:
    order = fairest(waiting, running, recent, weights)
    assert Counter(order) == Counter(waiting)
    assert order == fairest(reversed(waiting), running, recent, weights)


@given(candidates, counts, counts, weights)
def test_within_a_tenant_age_decides(
    waiting: list[Candidate], running: dict[str, int], recent: dict[str, int], weights: dict[str, float]
) -> None:
    order = fairest(waiting, running, recent, weights)
    for tenant in TENANTS:
        ages = [candidate.created_at for candidate in order if candidate.tenant == tenant]
        assert ages == sorted(ages)


@given(candidates.filter(bool), counts, counts, weights)
def test_who_has_its_share_never_goes_before_who_lacks_a_whole_job(
    waiting: list[Candidate], running: dict[str, int], recent: dict[str, int], weights: dict[str, float]
) -> None:
    first = fairest(waiting, running, recent, weights)[0]
    active = {c.tenant for c in waiting} | {tenant for tenant in running if running[tenant]}
    total = sum(weights.get(tenant, 1.0) for tenant in active)
    slots = sum(running.values()) + 1
    missing = {t: slots * weights.get(t, 1.0) / total - running.get(t, 0) for t in {c.tenant for c in waiting}}
    if missing[first.tenant] < -1e-6:
        assert all(missing[tenant] < 1e-6 for tenant in missing)
    if missing[first.tenant] < 0:
        assert all(lacks < 1 for lacks in missing.values())


@given(st.integers(1, 4))
@settings(max_examples=4)
def test_a_newcomer_is_served_before_the_backlog_of_somebody_else(slots: int) -> None:
    served = serve({"a": 50, "b": 0}, {}, slots, 10)
    assert served == ["a"] * 10
    waiting = [Candidate(f"a{n}", "a", n) for n in range(40)] + [Candidate("b0", "b", 1e9)]
    assert fairest(waiting, {"a": slots - 1}, {"a": 10}, {})[0].tenant == "b"


def test_shares_follow_the_weights_with_one_slot_and_with_many() -> None:
    for slots in (1, 8):
        served = Counter(serve({"a": 80, "b": 80}, {"a": 3.0}, slots, 80))
        assert abs(served["a"] - 60) <= 4, (slots, served)


def test_nobody_starves_beside_two_busy_tenants() -> None:
    served = serve({"a": 50, "b": 50, "c": 5}, {}, 1, 15)
    assert Counter(served) == {"a": 5, "b": 5, "c": 5}


def test_nothing_waits() -> None:
    assert fairest([], {"a": 1}, {}, {}) == []
