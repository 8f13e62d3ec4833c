"""What every settings class here shares: unknown keys are an error, and a value never changes after it was read."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
