"""Engines whose every question is a span, and its time a figure."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from serve_app.engines import Models
from serve_app.telemetry import metrics, traces

SHELVES = {
    "detect": "vad",
    "diarize": "speaker",
    "recognize": "asr",
    "translate": "translation",
    "speak": "tts",
    "separate": "separation",
}
"""The shelf of each verb of the seam."""


def observed(models: Models) -> Models:
    """The same engines, seen."""
    verbs = {name: getattr(models, name) for name in SHELVES}
    seen: dict[str, Any] = {name: observing(name, verb) for name, verb in verbs.items() if verb is not None}
    return replace(models, **seen)


def observing(name: str, verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """One verb of the seam, by its name there."""

    async def ask(*args: Any) -> Any:
        with traces.span(name), metrics.asked(SHELVES[name]):
            answer = await verb(*args)
        if getattr(answer, "failed", ()):
            metrics.add("dubserve_fallbacks_total", engine=answer.voice.partition(":")[0])
        return answer

    return ask
