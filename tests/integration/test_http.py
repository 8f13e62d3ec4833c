"""The HTTP door: upload, live events, results with range requests, health, and errors with stable codes."""

import json
import shutil
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from serve_app.doors.spool import FOLDER
from tests.service import Service


@pytest.fixture(scope="module")
def http(served: Service) -> Iterator[httpx.Client]:
    with served.http() as client:
        yield client


def finished(http: httpx.Client, job_id: str) -> list[dict[str, object]]:
    """All events of a job's stream."""
    with http.stream("GET", f"/v1/jobs/{job_id}/events", timeout=120) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]


@pytest.fixture(scope="module")
def done(http: httpx.Client, talk: Path) -> str:
    """The id of a job that was uploaded and has completed."""
    with talk.open("rb") as video:
        answer = http.post("/v1/jobs", data={"target_lang": "fr", "source_lang": "en"}, files={"file": video})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    events = finished(http, job_id)
    assert [event["status"] for event in events[:-1]] == ["processing"] * (len(events) - 1)
    assert events[-1]["status"] == "completed"
    return job_id


def test_the_result_links_files_that_can_be_read_in_ranges(http: httpx.Client, done: str) -> None:
    result = http.get(f"/v1/jobs/{done}/result").json()
    assert result["output_bytes"] > 10_000
    link = result["artifacts"]["translated.mp4"]
    whole = http.get(link)
    assert len(whole.content) == result["output_bytes"]
    part = http.get(link, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert "[fr]" in http.get(result["artifacts"]["translated_subtitles.srt"]).text
    report = http.get(result["artifacts"]["report.json"]).json()
    assert len(report["segments"]) > 3
    assert all(row["translation"].startswith("[fr]") for row in report["segments"])


def test_an_upload_lies_in_the_work_folder_until_all_of_it_is_there(served: Service, http: httpx.Client) -> None:
    spool, lay = f"{served.work / FOLDER}/", list[str]()

    def body() -> Iterator[bytes]:
        head = 'content-disposition: form-data; name="file"; filename="a.mp4"'
        yield f"--xx\r\n{head}\r\n\r\n".encode() + bytes(3 * 1024**2)
        until = time.monotonic() + 30
        while not lay and time.monotonic() < until:
            lay.extend(file for file in served.open_files() if file.startswith(spool))
        yield b'\r\n--xx\r\ncontent-disposition: form-data; name="target_lang"\r\n\r\nes\r\n--xx--\r\n'

    headers = {"content-type": "multipart/form-data; boundary=xx"}
    answer = http.post("/v1/jobs", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unreadable_media")
    assert len(lay) == 1 and list((served.work / FOLDER).iterdir()) == []


def test_a_job_shows_its_state_and_log(http: httpx.Client, done: str) -> None:
    job = http.get(f"/v1/jobs/{done}").json()
    assert (job["status"], job["progress"]["percent"]) == ("completed", 100.0)
    assert job["log"]
    assert done in [row["id"] for row in http.get("/v1/jobs").json()]
    assert http.get(f"/v1/jobs/{done}/insights").json()


def test_a_path_inside_the_uploads_folder_will_do(served: Service, http: httpx.Client, talk: Path) -> None:
    video = shutil.copy(talk, served.uploads / "by path.mp4")
    answer = http.post("/v1/jobs", data={"target_lang": "de", "path": str(video), "subtitles": "soft"})
    assert answer.status_code == 202
    assert finished(http, answer.json()["id"])[-1]["status"] == "completed"


def test_cancel(served: Service, http: httpx.Client, talk: Path) -> None:
    video = shutil.copy(talk, served.uploads / "to cancel.mp4")
    job_id = http.post("/v1/jobs", data={"target_lang": "de", "path": str(video)}).json()["id"]
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    deadline = time.monotonic() + 10
    while (status := http.get(f"/v1/jobs/{job_id}").json()["status"]) == "processing" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == "cancelled"
    assert http.get(f"/v1/jobs/{job_id}/result").status_code == 409


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"target_lang": "es"}, 422, "invalid_job"),
        ({"target_lang": "es", "path": "/etc/passwd"}, 422, "path_not_allowed"),
        ({"target_lang": "es", "path": "nowhere.mp4"}, 422, "path_not_allowed"),
    ],
)
def test_bad_requests_have_a_code(http: httpx.Client, form: dict[str, str], status: int, code: str) -> None:
    answer = http.post("/v1/jobs", data=form)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "/etc" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/jobs/nobody", 404),
        ("/v1/jobs/nobody/events", 404),
        ("/v1/jobs/nobody/result", 404),
        ("/v1/jobs/nobody/artifacts/translated.mp4", 404),
        ("/v1/jobs/..%2f..%2fetc/artifacts/passwd", 404),
    ],
)
def test_what_is_not_there_is_not_found(http: httpx.Client, path: str, status: int) -> None:
    assert http.get(path).status_code == status


def test_other_files_of_the_folder_are_not_handed_out(http: httpx.Client, done: str) -> None:
    for name in ("..%2f..%2fetc%2fpasswd", ".jobs.sqlite", f"{done}_translated.mp4"):
        assert http.get(f"/v1/jobs/{done}/artifacts/{name}").status_code == 404


def test_an_upload_that_is_no_video_is_refused_with_its_reason(http: httpx.Client) -> None:
    before = http.get("/v1/jobs").json()
    answer = http.post("/v1/jobs", data={"target_lang": "es"}, files={"file": ("x.mp4", b"no video" * 500)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unreadable_media")
    assert http.get("/v1/jobs").json() == before


def test_an_upload_that_is_too_large_is_refused_before_it_is_sent(http: httpx.Client) -> None:
    connection = HTTPConnection(http.base_url.host, http.base_url.port, timeout=30)
    connection.putrequest("POST", "/v1/jobs")
    connection.putheader("content-type", "multipart/form-data; boundary=b")
    connection.putheader("content-length", str(3 * 1024**3))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "too_large")
    connection.close()


def test_refusals_of_the_framework_have_the_same_shape(http: httpx.Client, done: str) -> None:
    assert http.get("/v2").json()["error"]["code"] == "not_found"
    form = {"target_lang": "es", "subtitles": "shiny"}
    assert http.post("/v1/jobs", data=form).json()["error"]["code"] == "invalid_request"
    answer = http.get(f"/v1/jobs/{done}/artifacts/report.json", headers={"range": "bytes=x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (416, "range_not_satisfiable")


def test_health_metrics_and_description(http: httpx.Client, done: str) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["parts"] == dict.fromkeys(("store", "ingress", "driver", "recognizer", "translator"), True)
    samples = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if not line.startswith("#"))
    assert float(samples['dubserve_jobs{state="completed"}']) >= 1
    assert "/v1/jobs/{job_id}/events" in http.get("/openapi.json").json()["paths"]
