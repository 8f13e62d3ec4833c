"""Routes on which the owner of a job looks at its segments, changes some, and has them dubbed again."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Query
from pydantic import BaseModel, ConfigDict

from serve_app.doors import wire
from serve_app.doors.access import Who
from serve_app.doors.desk import Desk
from serve_app.doors.uploads import TooLarge

MOST = 1000
"""Changes in one call; a film has more segments, but a person has not changed them all at once."""
BYTES = 8 * MOST * 1024
"""What the body of such a call may hold."""

Target = Annotated[str, Query(description="one of the job's languages; left out: its first")]


def speaks(path: str) -> bool:
    """Whether an address is one of these, whose bodies are small."""
    return path.endswith("/segments")


def too_large() -> TooLarge:
    return TooLarge(f"these are too many changes for one call; send at most {MOST} at once")


class Change(BaseModel):
    """What is left out stays as it is; null withdraws what was changed."""

    model_config = ConfigDict(extra="forbid")

    id: int
    text: str | None = None
    translation: str | None = None
    voice: Literal["male", "female", "neutral"] | None = None
    skip: bool | None = None


def add_segments(api: FastAPI, desk: Desk) -> None:
    @api.get("/v1/jobs/{job_id}/segments", summary="What was heard and said, segment by segment, and what was changed")
    async def segments(caller: Who, job_id: str, target: Target = "") -> list[dict[str, Any]]:
        job = await desk.job(caller, job_id)
        return await asyncio.to_thread(desk.editor.segments, job, target)

    @api.patch("/v1/jobs/{job_id}/segments", summary="Change segments; a job that is dubbed again does them again")
    async def change(
        caller: Who, job_id: str, changes: Annotated[list[Change], Body(max_length=MOST)], target: Target = ""
    ) -> list[dict[str, Any]]:
        job = await desk.job(caller, job_id)
        wanted = {change.id: change.model_dump(exclude={"id"}, exclude_unset=True) for change in changes}
        await asyncio.to_thread(desk.editor.change, job, target, wanted)
        rows = await asyncio.to_thread(desk.editor.segments, await desk.job(caller, job_id), target)
        return [row for row in rows if row["id"] in wanted]

    @api.post("/v1/jobs/{job_id}/redub", status_code=202, summary="Do again what depends on the changed segments")
    async def redub(caller: Who, job_id: str) -> dict[str, Any]:
        job = await desk.job(caller, job_id)
        await desk.admit(caller)
        await asyncio.to_thread(desk.editor.redub, job)
        return wire.job_json(await desk.job(caller, job_id), [])
