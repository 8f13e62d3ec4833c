"""The list of a caller's jobs, page by page and by state, and the second chance of one that has failed."""

import asyncio
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Response

from models.errors import WrongState
from serve_app.doors import wire
from serve_app.doors.access import Who
from serve_app.doors.desk import Desk
from serve_app.jobs.job import Job, Request, State
from serve_app.jobs.listing import MOST, Listing, states_of


def add_listing(api: FastAPI, desk: Desk) -> None:
    listing = Listing(desk.database)

    @api.get("/v1/jobs", summary="Your jobs, newest first; the header `link` names the next page")
    async def latest(
        caller: Who,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
        state: Annotated[list[str], Query(description="live, or a state; several: any of them")] = [],  # noqa: B006
        after: Annotated[str, Query(max_length=400, description="as the header `link` gives it")] = "",
    ) -> list[dict[str, Any]]:
        found, rest = await asyncio.to_thread(listing.page, caller.tenant, states_of(state), after, limit)
        if rest:
            query = urlencode({"limit": limit, "state": state, "after": rest}, doseq=True)
            response.headers["link"] = f'</v1/jobs?{query}>; rel="next"'
        return [wire.job_json(job, []) for job in found]

    @api.get("/v1/counts", summary="How many jobs you have in each state")
    async def counts(caller: Who) -> dict[str, int]:
        return await asyncio.to_thread(listing.counts, caller.tenant)

    @api.post("/v1/jobs/{job_id}/retry", status_code=202, summary="Go on with a job that failed or was cancelled")
    async def retry(caller: Who, job_id: str) -> dict[str, Any]:
        return wire.job_json(await desk.take(caller, once_more(await desk.job(caller, job_id))), [])


def once_more(job: Job) -> Request:
    """What to ask again for a job that ended without a dub. Raises WrongState for any other."""
    if job.state not in (State.FAILED, State.CANCELLED):
        raise WrongState("only a job that has failed or was cancelled can be tried again")
    return job.request
