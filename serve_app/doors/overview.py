"""The operator's view over HTTP: the queue, what each tenant is owed and gets, and what all have used.

Who is an operator? The tenants that `ingress: {operators: […]}` names; and where no tenant was ever added, everybody:
a service without keys has one user, who need not be told from its operator.
"""

import asyncio
import time
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI

from configs.app import AppSettings
from models.errors import NotAllowed
from serve_app.doors.access import Caller, Who
from serve_app.doors.usage import MONTH_S
from serve_app.jobs.database import Database
from serve_app.jobs.overview import standings
from serve_app.jobs.tenants import Tenants
from serve_app.jobs.usage import Total, Usage


class Overview:
    def __init__(self, database: Database, settings: AppSettings) -> None:
        self._database = database
        self._settings = settings
        self._tenants = Tenants(database)
        self._usage = Usage(database)

    async def may_see(self, tenant: str) -> bool:
        if tenant in self._settings.ingress.operators:
            return True
        return not await asyncio.to_thread(self._tenants.all)

    async def check(self, caller: Caller) -> None:
        """Raises NotAllowed (permission_denied) for whoever may not see it."""
        if not await self.may_see(caller.tenant):
            raise NotAllowed("this view is the operator's; name the tenant in `ingress: {operators: […]}` to open it")

    def look(self) -> dict[str, Any]:
        """Blocks."""
        found = standings(self._database, self._settings.jobs)
        used = self._usage.totals(time.time() - MONTH_S)
        states: dict[str, int] = {}
        for one in found.values():
            states = {name: states.get(name, 0) + many for name, many in one.states.items()}
        return {
            "states": states,
            "window_s": self._settings.jobs.share_window_s,
            "usage_s": MONTH_S,
            "tenants": [{**asdict(one), "usage": asdict(used.get(name, Total()))} for name, one in found.items()],
        }


def add_overview(api: FastAPI, overview: Overview) -> None:
    @api.get("/v1/overview", summary="For operators: the queue, the tenants' shares, and the usage of 30 days")
    async def look(caller: Who) -> dict[str, Any]:
        await overview.check(caller)
        return await asyncio.to_thread(overview.look)
