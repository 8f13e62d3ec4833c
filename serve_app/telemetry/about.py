"""Whom the work at hand is for: the job, its tenant, the attempt, the stage. Kept in a context, not handed around."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class About:
    job: str = ""
    tenant: str = ""
    attempt: int = 0
    stage: str = ""


NOW: ContextVar[About] = ContextVar("about", default=About())  # noqa: B039, it is frozen


@contextmanager
def about(**facts: str | int) -> Iterator[None]:
    """What is done within this is about these facts, and what was known before."""
    before = NOW.set(replace(NOW.get(), **facts))  # type: ignore[arg-type]
    try:
        yield
    finally:
        NOW.reset(before)
