"""Whose turn is it? One pure rule, asked at the last moment: when a Driver has a hand free.

Weighted fair share over tenants. Of the jobs that will be under way, this one included, each tenant that waits or runs
is owed a part by its weight, rarely a whole number. Who runs fewer than the whole jobs it is owed goes first; then who
is owed a fraction of one more; then everybody else, since nobody's hand stays idle. Among equals it is the tenant that
was served least of late, per weight, which is how fractions are paid, and the only thing that counts with one Driver:
so a newcomer never waits behind somebody's whole backlog. What is left is age.

Least running per weight, without those fractions, was tried: with four Drivers, weights of 1, 2 and 3 became 1, 1, 2.

It counts jobs, not minutes: a tenant with long videos gets more machine than one with short ones. The order is computed
over the candidates of every claim: one of each tenant that waits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import floor

FUZZ = 1e-9
"""What computing with weights may be off by."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that somebody could run now. `created_at` in Unix seconds."""

    job_id: str
    tenant: str
    created_at: float


def fairest(
    candidates: Iterable[Candidate],
    running: Mapping[str, float],
    recent: Mapping[str, float],
    weights: Mapping[str, float],
) -> list[Candidate]:
    """The candidates, the one whose turn it is first.

    `running` and `recent` count each tenant's jobs under way and its runs of late; a tenant without a weight weighs 1.
    """
    waiting = list(candidates)
    active = {candidate.tenant for candidate in waiting} | {tenant for tenant, many in running.items() if many}
    per_weight = (sum(running.values()) + 1) / (sum(weights.get(tenant, 1.0) for tenant in active) or 1.0)

    def turn(candidate: Candidate) -> tuple[int, float, float, str]:
        tenant = candidate.tenant
        weight = weights.get(tenant, 1.0)
        rank = claim_on(weight * per_weight, running.get(tenant, 0))
        return rank, recent.get(tenant, 0) / weight, candidate.created_at, candidate.job_id

    return sorted(waiting, key=turn)


def claim_on(owed: float, running: float) -> int:
    """0 for a whole job that is owed, 1 for a fraction of one, 2 for nothing."""
    if running < floor(owed + FUZZ):
        return 0
    return 1 if running < owed - FUZZ else 2
