"""What every settings class here shares: unknown keys are an error, and a value never changes after it was read."""

from typing import Any

from pydantic import BaseModel, ConfigDict

HOW = frozenset(
    {"device", "threads", "at_once", "tries", "backoff_s", "batch_tokens", "edge_timeout_s"}
    | {"breaker_failures", "breaker_s", "cache_tokens", "preload", "memory_mb", "gpu_memory_mb"}
    | {"edge_per_s", "edge_burst", "edge_at_once", "edge_max_delay_s", "edge_patience_s"}
)
"""Fields that decide how fast or how stubbornly a thing is made, and not what comes out."""


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def what(self) -> dict[str, Any]:
        """The fields on which the result depends: what a checkpoint is kept under."""
        return self.model_dump(exclude=set(HOW))
