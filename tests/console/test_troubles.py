"""What goes wrong, or is stopped, in a real browser: nothing is lost, and a sentence says what to do."""

import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import imageio_ffmpeg
import pytest
from playwright.sync_api import expect
from sqlalchemy import insert, update

from serve_app.jobs.job import LogLine, Progress, Request, State
from serve_app.jobs.tables import jobs, logs, new_row
from tests.console.conftest import House, Visitor


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film in which nobody speaks."""
    path = tmp_path_factory.mktemp("silent") / "silent film.mp4"
    picture, sound = "color=c=navy:s=320x180:r=25:d=2", "anullsrc=r=16000:cl=mono"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    subprocess.run([*command, "-shortest", "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


def test_a_reload_in_the_middle_loses_nothing_and_a_failure_says_what_to_do(
    visit: Visitor, house: House, silent: Path
) -> None:
    here = visit(house.held("cat"))
    page = here.page
    here.go()
    here.upload(silent)
    expect(page.locator(".badge")).to_have_text("Waiting")
    page.reload()
    expect(page.get_by_role("heading", name="silent film.mp4")).to_be_visible()
    expect(page.locator(".badge")).to_have_text("Waiting")
    here.look_for_barriers()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".badge")).to_have_text("Paused")
    page.reload()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".badge")).to_have_text("Waiting")
    house.tenants.change("cat", running=None)

    expect(page.get_by_role("heading", name="This dub failed")).to_be_visible()
    expect(page.locator(".reason")).not_to_be_empty()
    expect(page.get_by_text("Check that somebody speaks in it.")).to_be_visible()
    here.look_for_barriers()
    house.held("cat")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".badge")).to_have_text("Waiting")
    page.get_by_role("link", name="All videos").click()
    expect(page.locator(".row .badge")).to_have_text("Waiting")


def test_what_is_under_way_is_shown_live_and_after_a_reload(visit: Visitor, house: House) -> None:
    house.key("ivy")
    stages = {"initialization": 1.5, "audio_extraction": 2.0, "transcription": 30.0}
    progress = Progress(percent=43.0, stage="translation", eta_s=130.0, segments_done=12, segments_total=40)
    progress = replace(progress, stage_seconds=stages, elapsed_s=61.0)
    row = new_row(Request("ivy-1", "/x.mp4", "en", "es", tenant="ivy", title="A long film.mp4"), time.time())
    held = {"state": State.RUNNING, "fence": 1, "lease_until": time.time() + 600, "progress": asdict(progress)}
    line = LogLine("2026-11-24T01:02:03.000000Z", "warning", "transcription", "one sentence was in doubt")
    with house.database.write() as connection:
        connection.execute(insert(jobs), [{**row, **held, "lines": 1}])
        connection.execute(insert(logs), [{"job_id": "ivy-1", "number": 1, **asdict(line)}])
    here = visit("ivy")
    page = here.page
    here.go()
    expect(page.locator(".row")).to_contain_text("Translate · 43 % · about 2 min left")
    page.get_by_role("link", name="A long film.mp4").click()
    for _ in range(2):
        expect(page.locator(".percent")).to_have_text("43 %")
        expect(page.locator(".now")).to_contain_text("about 2 min left · 12 of 40 sentences · 1:01 spent")
        expect(page.locator(".steps .done")).to_have_count(3)
        expect(page.locator(".steps .current")).to_contain_text("Translate")
        expect(page.locator(".log li")).to_contain_text("Warning: One sentence was in doubt")
        page.reload()

    expect(page.locator(".percent")).to_have_text("43 %")
    here.look_for_barriers()
    page.context.set_offline(True)
    more = asdict(replace(progress, percent=57.0))
    with house.database.write() as connection:
        now = {"progress": more, "updated_at": time.time()}
        connection.execute(update(jobs).where(jobs.c.id == "ivy-1").values(**now))
    page.context.set_offline(False)
    expect(page.locator(".percent")).to_have_text("57 %")
    here.complaints.clear()
    with house.http("ivy") as http:
        http.post("/v1/jobs/ivy-1/cancel")


def test_whoever_is_cut_off_is_told_and_taken_up_again(visit: Visitor, house: House, clip: Path) -> None:
    here = visit(house.held("ida"))
    page = here.page
    here.go()
    here.upload(clip)
    expect(page.locator(".badge")).to_have_text("Waiting")
    page.route("**/events", lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("The connection was lost; trying again")).to_be_visible()
    page.unroute("**/events")
    house.tenants.change("ida", running=None)
    expect(page.locator(".player")).to_be_visible()
    expect(page.get_by_text("The connection was lost; trying again")).to_be_hidden()
    assert all("ERR_FAILED" in complaint for complaint in here.complaints)
    here.complaints.clear()


def test_the_list_is_there_while_an_engine_is_not(visit: Visitor, done: str) -> None:
    here = visit("ann")
    page = here.page
    away = {"error": {"code": "artifact_missing", "message": "no recognizer is ready"}}
    page.route("**/v1/languages", lambda route: route.fulfill(status=503, json=away))
    here.go()
    expect(page.locator(".row").first).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("No recognizer is ready")
    here.look_for_barriers()
    page.unroute("**/v1/languages")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="New dub")).to_be_visible()
    assert all("503" in complaint for complaint in here.complaints)
    here.complaints.clear()


def test_a_job_is_cancelled_and_tried_again(visit: Visitor, house: House, clip: Path) -> None:
    here = visit(house.held("dan"))
    page = here.page
    here.go()
    here.upload(clip)
    page.get_by_role("button", name="Cancel").click()
    here.look_for_barriers()
    page.get_by_role("button", name="Cancel the dub").click()
    expect(page.get_by_role("heading", name="This dub was cancelled")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".badge")).to_have_text("Waiting")


def test_what_is_no_video_is_refused_in_words(visit: Visitor, tmp_path: Path) -> None:
    text, fake = tmp_path / "notes.txt", tmp_path / "fake.mp4"
    text.write_text("no film")
    fake.write_text("no film either")
    here = visit("fay")
    page = here.page
    here.go()
    page.locator("#files").set_input_files(text)
    expect(page.get_by_role("alert")).to_contain_text("notes.txt does not look like a video")
    here.upload(fake)
    refused = page.get_by_text("The file").or_(page.get_by_text("fake.mp4 was not taken"))
    failed = page.get_by_role("heading", name="This dub failed")
    expect(refused.or_(failed).first).to_be_visible()
    assert all("422" in complaint for complaint in here.complaints)
    here.complaints.clear()
