"""Ten times what there is room for: the excess is told at once when to come again, and what was taken is finished."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from serve_app.jobs.database import Database
from serve_app.jobs.tenants import Tenant, Tenants
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub
from tests.service import Service

CAPACITY = 3


@pytest.fixture(scope="module")
def tenants(served: Service) -> Iterator[Tenants]:
    database = Database(f"sqlite:///{served.work / '.jobs.sqlite'}")
    yield Tenants(database)
    database.close()


class Flood:
    """One tenant at both doors: `send` returns the id of the job that was taken, or how long to wait."""

    def __init__(self, served: Service, key: str, video: Path, channel: grpc.Channel) -> None:
        self._http, self._stub, self._video = served.http(), TranslationServiceStub(channel), video
        self._metadata = [("authorization", f"Bearer {key}")]
        self.headers = dict(self._metadata)

    def send(self, number: int) -> str | int:
        return self._over_grpc(f"flood-{number}") if number % 2 else self._over_http()

    def _over_http(self) -> str | int:
        form = {"source_lang": "en", "target_lang": "es", "path": str(self._video)}
        answer = self._http.post("/v1/jobs", data=form, headers=self.headers)
        if answer.status_code == 202:
            return str(answer.json()["id"])
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "resource_exhausted"), answer.text
        return int(answer.headers["retry-after"])

    def _over_grpc(self, job_id: str) -> str | int:
        asked = pb.TranslationRequest(session_id=job_id, file_path=str(self._video), source_lang="en", target_lang="es")
        stream = self._stub.TranslateVideo(asked, metadata=self._metadata, timeout=60)
        first = next(stream)
        if first.status == "processing":
            stream.cancel()
            return job_id
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, ended.value
        return int(dict(ended.value.trailing_metadata())["retry-after"])

    def end(self, job_id: str) -> dict[str, Any]:
        """What the last event about a job says."""
        with self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=self.headers, timeout=120) as events:
            told = [line for line in events.iter_lines() if line.startswith("data: ")]
        last: dict[str, Any] = json.loads(told[-1].removeprefix("data: "))
        return last

    def close(self) -> None:
        self._http.close()


def test_the_excess_is_told_when_to_come_again_and_what_was_taken_is_finished(
    served: Service, tenants: Tenants, short_talk: Path
) -> None:
    """Nothing of the tenant runs until all have asked, so that there is room for so many and no more."""
    tenants.add(Tenant("flood", queued=CAPACITY, running=0))
    folder = served.uploads / "tenants" / "flood"
    folder.mkdir(parents=True)
    video = Path(shutil.copy(short_talk, folder))
    with grpc.insecure_channel(served.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        flood = Flood(served, tenants.issue("flood"), video, channel)
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(flood.send, range(10 * CAPACITY)))
        taken = [answer for answer in answers if isinstance(answer, str)]
        assert len(taken) == CAPACITY and {answer for answer in answers if isinstance(answer, int)} == {30}
        tenants.change("flood", running=None)
        ended = [flood.end(job_id) for job_id in taken]
        assert [(job["status"], job["error"]) for job in ended] == [("completed", None)] * CAPACITY
        flood.close()
