"""gRPC's health service (`grpc.health.v1`) over what the parts of the service say of themselves.

It knows the whole, whose name is empty, and the service of the contract by its full name; both are well together. Load
balancers have no key, so nobody is asked for one. Therefore all callers share one question to the parts in a second,
and no more than `WATCHERS` streams are open at a time: each holds a place among the calls of its replica.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from grpc_health.v1.health_pb2 import HealthCheckResponse

from models.errors import NotAllowed
from serve_app.proto import translation_pb2 as pb

SERVICES = ("", *(service.full_name for service in pb.DESCRIPTOR.services_by_name.values()))
EVERY_S = 1.0
WATCHERS = 100
FULL_S = 30.0


class Health:
    """`ready` tells of each part whether it could work now."""

    def __init__(self, ready: Callable[[], Awaitable[dict[str, bool]]], every_s: float = EVERY_S) -> None:
        self._ready = ready
        self._every_s = every_s
        self._turn = asyncio.Lock()
        self._told: dict[str, bool] = {}
        self._asked = float("-inf")
        self._watchers = 0

    async def status(self, service: str) -> HealthCheckResponse:
        """SERVING, NOT_SERVING, or SERVICE_UNKNOWN for a name that is none of ours."""
        if service not in SERVICES:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        async with self._turn:
            if time.monotonic() - self._asked >= self._every_s:
                self._told = await self._ready()
                self._asked = time.monotonic()
        well = all(self._told.values())
        return HealthCheckResponse(status=HealthCheckResponse.SERVING if well else HealthCheckResponse.NOT_SERVING)

    async def all(self) -> dict[str, HealthCheckResponse]:
        return {service: await self.status(service) for service in SERVICES}

    async def watch(self, service: str) -> AsyncIterator[HealthCheckResponse]:
        """The status now, and then whenever it is another, without end. Raises NotAllowed where too many watch."""
        if self._watchers >= WATCHERS:
            raise NotAllowed("too many watch already; ask again later", "resource_exhausted", FULL_S)
        self._watchers += 1
        try:
            last = None
            while True:
                now = await self.status(service)
                if now != last:
                    yield now
                last = now
                await asyncio.sleep(self._every_s)
        finally:
            self._watchers -= 1
