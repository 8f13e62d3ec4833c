"""One film into two languages, told by webhook, changed and dubbed again: through the real service."""

import base64
import hashlib
import hmac
import json
import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.service import WEBHOOK_SECRET, Service

Heard = queue.Queue[tuple[dict[str, str], bytes]]


@contextmanager
def listening() -> Iterator[tuple[str, Heard]]:
    """A receiver of webhooks that refuses the first one it gets."""
    heard: Heard = queue.Queue()
    refusals = [503]

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(refusals.pop() if refusals else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def told(heard: Heard) -> dict[str, Any]:
    """The next delivery, with its signature checked."""
    headers, body = heard.get(timeout=120)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(WEBHOOK_SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    found: dict[str, Any] = json.loads(body)
    assert found["id"] == headers["webhook-id"]
    return found


def test_two_languages_a_change_and_a_second_dub(served: Service, short_talk: Path) -> None:
    video = shutil.copy(short_talk, served.uploads / "two languages.mp4")
    form = {"target_langs": "es,fr", "source_lang": "en", "path": str(video), "subtitles": "none"}
    with served.http() as http, listening() as (hook, heard):
        job = http.post("/v1/jobs", data={**form, "webhook": hook}).json()["id"]
        first, again = told(heard), told(heard)
        assert first["id"] == again["id"] and (again["event"], again["job_id"]) == ("job.completed", job)
        files = http.get(f"/v1/jobs/{job}/result").json()["artifacts"]
        assert "[fr]" in http.get(files["translated_subtitles.fr.srt"]).text
        assert http.get(files["translated.fr.mp4"]).content != http.get(files["translated.mp4"]).content

        address = f"/v1/jobs/{job}/segments"
        one = http.get(address).json()[0]
        change = [{"id": one["id"], "translation": "Dit à la main."}]
        assert http.patch(address, params={"target": "fr"}, json=change).status_code == 200
        assert http.post(f"/v1/jobs/{job}/redub").status_code == 202
        second = told(heard)
        assert second["event"] == "job.completed" and second["id"] != first["id"]
        french, spanish = (http.get(address, params={"target": to}).json()[0] for to in ("fr", "es"))
        assert (french["translation"], french["edited"]) == ("Dit à la main.", ["translation"])
        assert (spanish["translation"], spanish["edited"]) == (one["translation"], [])
        assert "Dit à la main." in http.get(files["translated_subtitles.fr.srt"]).text
