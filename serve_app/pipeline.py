"""The straight line: eight awaits, one per room."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from models.segment import Clip, Sentence, Span, Speech, Transcript, Utterance


@dataclass(frozen=True, slots=True)
class Models:
    """The seam between the pipeline and the engines: four async callables, one item in, one out.

    Serve's handles already are such callables (batching happens behind them, over all jobs); the local twin fills them
    with threads; a test fills them with plain functions. `hears` are the languages of the recogniser (None: any that it
    can detect) and `pairs` the (source, target) pairs that have a model of their own.
    """

    detect: Callable[[Clip], Awaitable[list[Span]]]
    recognize: Callable[[Clip], Awaitable[Transcript]]
    translate: Callable[[Sentence], Awaitable[Sentence]]
    speak: Callable[[Utterance], Awaitable[Speech]]
    hears: frozenset[str] | None
    pairs: frozenset[tuple[str, str]]
