"""The route on which the owner of a job sees whether its webhook was told, and why not."""

import asyncio
from typing import Any

from fastapi import FastAPI

from serve_app.doors.access import Who
from serve_app.doors.desk import Desk


def add_deliveries(api: FastAPI, desk: Desk) -> None:
    @api.get("/v1/jobs/{job_id}/deliveries", summary="What was sent to the job's webhook, and what became of it")
    async def deliveries(caller: Who, job_id: str) -> list[dict[str, Any]]:
        job = await desk.job(caller, job_id)
        return await asyncio.to_thread(desk.outbox.of, job.id)
