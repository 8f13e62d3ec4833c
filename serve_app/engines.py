"""The seam between the pipeline and the engines."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from models.segment import Clip, Sentence, Span, Speech, Stereo, Transcript, Utterance, Voice


@dataclass(frozen=True, slots=True)
class Models:
    """Async callables, one item in, one out.

    Serve's handles already are such callables (batching happens behind them, over all jobs); the local twin fills them
    with threads; a test fills them with plain functions. `hears` are the languages of the recogniser (None: any that it
    can detect) and `pairs` the (source, target) pairs that have a model of their own. Without `diarize` nobody is told
    apart, without `separate` no music stays under the dub.
    """

    detect: Callable[[Clip], Awaitable[list[Span]]]
    recognize: Callable[[Clip], Awaitable[Transcript]]
    translate: Callable[[Sentence], Awaitable[Sentence]]
    speak: Callable[[Utterance], Awaitable[Speech]]
    hears: frozenset[str] | None
    pairs: frozenset[tuple[str, str]]
    diarize: Callable[[Clip], Awaitable[list[Voice]]] | None = None
    separate: Callable[[Stereo], Awaitable[Stereo]] | None = None
