"""One service that wants keys, with echo engines, and Debian's chromium: for all tests of this folder."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import imageio_ffmpeg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from serve_app.jobs.database import Database
from serve_app.jobs.tenants import Tenant, Tenants
from tests.integration.conftest import ECHO
from tests.service import Service, service

PATIENCE_MS = 90_000
KEYS_WANTED = {**ECHO, "ingress": {"anonymous": False, "operators": ["ops"]}}

BOTH_PLAY = "[...document.querySelectorAll('video')].every(one => !one.paused && one.currentTime > 0.5)"

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; Debian: apt install chromium")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service"), KEYS_WANTED) as running:
        yield running


@dataclass
class House:
    """The service with its tenants; `done` is a job of ann's that has completed."""

    service: Service
    tenants: Tenants
    database: Database
    keys: dict[str, str] = field(default_factory=dict)

    def key(self, name: str) -> str:
        if name not in self.keys:
            self.keys[name] = self.tenants.issue(self.tenants.add(Tenant(name)).name)
        return self.keys[name]

    def held(self, name: str) -> str:
        """The name of a tenant whose jobs wait, for as long as a test takes."""
        self.key(name)
        self.tenants.change(name, running=0)
        return name

    def http(self, name: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key(name)}"}
        return httpx.Client(base_url=self.service.http_url, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="package")
def house(served: Service) -> Iterator[House]:
    database = Database(f"sqlite:///{served.work / '.jobs.sqlite'}")
    yield House(served, Tenants(database), database)
    database.close()


@dataclass
class Visit:
    """A page of the console, and everything that its browser has complained about."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def go(self, address: str = "#/") -> None:
        self.page.goto(f"{self.url}/{address}")

    def upload(self, video: Path, target: str = "Spanish") -> None:
        """Sends a video by the form on the list of videos."""
        self.page.locator("#files").set_input_files(video)
        self.page.get_by_role("checkbox", name=target).check(force=True)
        self.page.get_by_role("button", name="Dub 1 video").click()

    def look_for_barriers(self) -> None:
        """axe-core's rules of WCAG, on what is shown now."""
        found = Axe().run(self.page).response["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []

    def until(self, expression: str) -> None:
        """Waits until JavaScript in the page is true; the page's own policy forbids Playwright's way of doing so."""
        for _ in range(PATIENCE_MS // 50):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never came true: {expression}")


Visitor = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser, house: House) -> Iterator[Visitor]:
    """Opens a page, signed in as a tenant where one is named. A complaint that was not expected fails the test."""
    opened: list[Visit] = []

    def open_page(name: str = "", **options: Any) -> Visit:
        context = browser.new_context(base_url=house.service.http_url, locale="en-US", **options)
        context.set_default_timeout(PATIENCE_MS)
        if name:
            answer = context.request.post("/v1/session", headers={"x-console": "1"}, data={"key": house.key(name)})
            assert answer.ok
        visit = Visit(context.new_page(), house.service.http_url)
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("console", lambda said: said.type == "error" and visit.complaints.append(said.text))
        opened.append(visit)
        return visit

    yield open_page
    complaints = [complaint for one in opened for complaint in one.complaints]
    for one in opened:
        one.page.context.close()
    assert complaints == []


@pytest.fixture(scope="package")
def clip(talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two sentences of the narrated film."""
    path = tmp_path_factory.mktemp("clip") / "talk.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(talk), "-t", "6", "-c", "copy", str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(scope="package")
def done(house: House, clip: Path) -> str:
    """The id of a job of ann's that has completed, with subtitles that can be switched."""
    form = {"source_lang": "en", "target_langs": ["es", "fr"], "subtitles": "soft"}
    with house.http("ann") as http, clip.open("rb") as video:
        job = http.post("/v1/jobs", data=form, files={"file": ("A talk.mp4", video)}).json()
        with http.stream("GET", f"/v1/jobs/{job['id']}/events", timeout=None) as events:  # ends when the job has ended
            events.read()
        ended = http.get(f"/v1/jobs/{job['id']}").json()
    assert ended["status"] == "completed", ended["error"]
    return str(job["id"])
