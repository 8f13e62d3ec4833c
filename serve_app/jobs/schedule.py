"""Whose turn is it? One pure rule, asked at the last moment: when a Driver has a hand free.

Weighted fair share over tenants. The tenant with the fewest running jobs per weight goes first. With one Driver nobody
else is ever running at that moment, so a tie goes to the tenant that was served least of late, again per weight: a
newcomer never waits behind somebody's whole backlog. What is left is age.

It counts jobs, not minutes: a tenant with long videos gets more machine than one with short ones. The order is computed
over the candidates of every claim: one of each tenant that waits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that somebody could run now. `created_at` in Unix seconds."""

    job_id: str
    tenant: str
    created_at: float


def fairest(
    candidates: Iterable[Candidate],
    running: Mapping[str, int],
    recent: Mapping[str, int],
    weights: Mapping[str, float],
) -> list[Candidate]:
    """The candidates, the one whose turn it is first.

    `running` and `recent` count each tenant's jobs under way and its runs of late; a tenant without a weight weighs 1.
    """

    def turn(candidate: Candidate) -> tuple[float, float, float, str]:
        tenant = candidate.tenant
        weight = weights.get(tenant, 1.0)
        return running.get(tenant, 0) / weight, recent.get(tenant, 0) / weight, candidate.created_at, candidate.job_id

    return sorted(candidates, key=turn)
