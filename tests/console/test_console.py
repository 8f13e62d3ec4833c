"""The console in a real browser, over the real service: from an upload to the dub that plays, and what goes wrong."""

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from playwright.sync_api import Page, Response, expect
from sqlalchemy import insert

from serve_app.jobs.job import Request, State
from serve_app.jobs.tables import jobs, new_row
from tests.console.conftest import House, Visit, Visitor

BOTH_PLAY = "[...document.querySelectorAll('video')].every(one => !one.paused && one.currentTime > 0.5)"
TIMES = "[...document.querySelectorAll('.screen video')].map(one => one.currentTime)"


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film in which nobody speaks."""
    path = tmp_path_factory.mktemp("silent") / "silent film.mp4"
    picture, sound = "color=c=navy:s=320x180:r=25:d=2", "anullsrc=r=16000:cl=mono"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    subprocess.run([*command, "-shortest", "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


def upload(page: Page, video: Path, target: str = "Spanish") -> None:
    page.locator("#files").set_input_files(video)
    page.get_by_role("checkbox", name=target).check(force=True)
    page.get_by_role("button", name="Dub 1 video").click()


# -- who may come in ---------------------------------------------------------------------------------------------------


def test_signing_in_and_out(visit: Visitor, house: House) -> None:
    guest = visit()
    page = guest.page
    guest.go()
    page.get_by_label("API key").fill("dub_1_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key is not known")
    guest.look_for_barriers()
    assert [complaint for complaint in guest.complaints if "401" not in complaint] == []
    guest.complaints.clear()

    page.get_by_label("API key").fill(house.key("guest"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No videos yet")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="No videos yet")).to_be_visible()
    (cookie,) = page.context.cookies(f"{guest.url}/v1/jobs")
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert page.evaluate("document.cookie") == ""

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()


def test_the_first_view_is_light(visit: Visitor) -> None:
    here, sizes = visit("light"), []

    def weigh(answer: Response) -> None:
        sizes.append(len(answer.body()))

    here.page.on("response", weigh)
    here.go()
    expect(here.page.get_by_role("heading", name="No videos yet")).to_be_visible()
    assert len(sizes) > 5 and sum(sizes) < 100_000


# -- a video -----------------------------------------------------------------------------------------------------------


def test_from_an_upload_to_the_dub_that_plays(visit: Visitor, clip: Path) -> None:
    here = visit("ben")
    page = here.page
    here.go()
    expect(page.get_by_role("heading", name="No videos yet")).to_be_visible()
    here.look_for_barriers()
    upload(page, clip)
    expect(page.get_by_role("heading", name="talk.mp4")).to_be_visible()
    expect(page.locator(".player")).to_be_visible()

    page.get_by_role("button", name="Play", exact=True).click()
    here.until(BOTH_PLAY)
    original, dub = page.evaluate(TIMES)
    assert abs(original - dub) < 0.5
    muted = "[...document.querySelectorAll('.screen video')].map(one => one.muted)"
    assert page.evaluate(muted) == [True, False]
    page.locator(".controls").get_by_text("Original").click()
    assert page.evaluate(muted) == [False, True]
    page.get_by_role("button", name="Pause", exact=True).click()
    here.until("[...document.querySelectorAll('video')].every(one => one.paused)")

    page.get_by_label("Position").fill("4")
    here.until("[...document.querySelectorAll('video')].every(one => Math.abs(one.currentTime - 4) < 0.1)")
    modes = "[...document.querySelectorAll('video')].map(one => one.textTracks[0].mode)"
    assert page.evaluate(modes) == ["showing", "showing"]
    here.until("[...document.querySelectorAll('video')].every(one => one.textTracks[0].cues?.length)")
    page.get_by_label("Subtitles").uncheck()
    assert page.evaluate(modes) == ["hidden", "hidden"]


def test_what_is_there_of_a_finished_video(visit: Visitor, house: House, done: str) -> None:
    here = visit("ann")
    page = here.page
    here.go(f"#/jobs/{done}")
    expect(page.locator(".segment textarea").first).to_be_visible()
    here.look_for_barriers()

    page.get_by_role("tab", name="Quality").click()
    expect(page.get_by_text("In time", exact=True)).to_be_visible()
    expect(page.locator(".insights li").first).to_be_visible()
    here.look_for_barriers()
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open the full report").click()
    expect(popup.value.get_by_role("heading", name="Timeline")).to_be_visible()
    popup.value.close()

    page.get_by_role("tab", name="Downloads").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Subtitles of the dub as SRT").first.click()
    assert "[es]" in download.value.path().read_text()
    here.look_for_barriers()
    page.get_by_role("tab", name="Log").click()
    expect(page.locator(".log li").first).to_be_visible()
    here.look_for_barriers()

    page.reload()
    expect(page.get_by_role("tab", name="Log")).to_have_attribute("aria-selected", "true")
    page.get_by_text("French", exact=True).click()
    page.get_by_role("tab", name="Sentences").click()
    expect(page.get_by_label("Translation of sentence").first).to_have_value(re.compile(r"^\[fr\] "))

    stranger = visit("ben")
    stranger.go(f"#/jobs/{done}")
    expect(stranger.page.get_by_role("alert")).to_contain_text("another key")
    assert all("404" in complaint for complaint in stranger.complaints)
    stranger.complaints.clear()


def test_an_edit_is_dubbed_again(visit: Visitor, house: House, done: str) -> None:
    address = f"/v1/jobs/{done}/segments"
    with house.http("ann") as http:
        before = http.get(address).json()
    number, other = before[0]["id"], before[1]
    here = visit("ann")
    page = here.page
    here.go(f"#/jobs/{done}")
    text = page.get_by_label(f"Translation of sentence {number}", exact=True)
    text.fill("")
    expect(page.get_by_role("status").filter(has_text="1 sentence changed")).to_be_visible()
    page.get_by_role("button", name="Dub again").click()
    expect(page.get_by_role("alert").filter(has_text="cannot be empty")).to_be_visible()
    page.get_by_role("button", name="Discard").click()
    expect(text).to_have_value(before[0]["translation"])
    expect(page.get_by_role("button", name="Dub again")).to_be_hidden()

    text.fill("Dicho a mano.")
    page.get_by_label(f"Voice of sentence {other['id']}", exact=True).select_option("Female")
    expect(page.get_by_role("status").filter(has_text="2 sentences changed")).to_be_visible()
    here.look_for_barriers()
    page.get_by_role("button", name="Dub again").click()
    expect(page.get_by_label(f"Take back the change of sentence {number}", exact=True)).to_be_visible()
    expect(text).to_have_value("Dicho a mano.")
    with house.http("ann") as http:
        after = http.get(address).json()
        subtitles = http.get(f"/v1/jobs/{done}/artifacts/translated_subtitles.srt").text
    assert [row["edited"] for row in after[:3]] == [["translation"], ["voice"], []][: len(after[:3])]
    assert after[1]["translation"] == other["translation"] and "Dicho a mano." in subtitles


def test_a_reload_in_the_middle_loses_nothing_and_a_failure_says_what_to_do(
    visit: Visitor, house: House, silent: Path
) -> None:
    here = visit(house.held("cat"))
    page = here.page
    here.go()
    upload(page, silent)
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
    expect(page.get_by_text("sound track in which somebody speaks")).to_be_visible()
    here.look_for_barriers()
    house.held("cat")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".badge")).to_have_text("Waiting")
    page.get_by_role("link", name="All videos").click()
    expect(page.locator(".row .badge")).to_have_text("Waiting")


def test_a_job_is_cancelled_and_tried_again(visit: Visitor, house: House, clip: Path) -> None:
    here = visit(house.held("dan"))
    page = here.page
    here.go()
    upload(page, clip)
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
    upload(page, fake)
    refused = page.get_by_text("The file").or_(page.get_by_text("fake.mp4 was not taken"))
    failed = page.get_by_role("heading", name="This dub failed")
    expect(refused.or_(failed).first).to_be_visible()
    assert all("422" in complaint for complaint in here.complaints)
    here.complaints.clear()


# -- everybody ---------------------------------------------------------------------------------------------------------


def tab_to(here: Visit, selector: str, key: str = "Tab") -> None:
    """Presses Tab until the focus is there: whoever has no mouse gets there as well."""
    for _ in range(60):
        here.page.keyboard.press(key)
        if here.page.evaluate(f"document.activeElement.matches({selector!r})"):
            return
    raise AssertionError(f"the keyboard does not lead to {selector}")


def test_an_upload_by_keyboard(visit: Visitor, house: House, clip: Path) -> None:
    here = visit(house.held("gus"))
    page, keyboard = here.page, here.page.keyboard
    here.go()
    expect(page.locator(".new")).to_be_visible()
    tab_to(here, ".skip")
    keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(here, "#files")
    with page.expect_file_chooser() as chooser:
        keyboard.press("Enter")
    chooser.value.set_files(clip)
    expect(page.locator("form .strong")).to_be_focused()
    tab_to(here, "input[type=checkbox][value=es]", "Shift+Tab")
    keyboard.press("Space")
    tab_to(here, "form .strong")
    keyboard.press("Enter")
    expect(page.locator("h1")).to_be_focused()
    expect(page.locator(".badge")).to_have_text("Waiting")


def test_the_player_and_the_table_by_keyboard(visit: Visitor, done: str) -> None:
    here = visit("ann")
    page, keyboard = here.page, here.page.keyboard
    here.go(f"#/jobs/{done}")
    expect(page.locator(".segment textarea").first).to_be_visible()
    tab_to(here, ".play")
    keyboard.press("Space")
    here.until(BOTH_PLAY)
    keyboard.press("Space")
    tab_to(here, "input.seek")
    keyboard.press("Home")
    here.until("document.querySelector('video.dub').currentTime === 0")
    tab_to(here, "[role=tab]")
    keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Quality")).to_be_focused()
    expect(page.get_by_role("tabpanel")).to_contain_text("Measured")
    keyboard.press("Home")
    tab_to(here, ".segment textarea")
    keyboard.type("Said by keyboard. ")
    tab_to(here, ".savebar .button")
    keyboard.press("Enter")
    expect(page.locator(".savebar")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone(visit: Visitor, done: str, scheme: str) -> None:
    here = visit("ann", viewport={"width": 360, "height": 740}, color_scheme=scheme, is_mobile=True, has_touch=True)
    page = here.page
    for address, there in (("#/", ".row"), (f"#/jobs/{done}", ".segment textarea"), ("#/service", ".parts li")):
        here.go(address)
        expect(page.locator(there).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
        here.look_for_barriers()


def test_ten_thousand_jobs(visit: Visitor, house: House) -> None:
    house.key("many")
    asked = [Request(f"many-{n}", "/x.mp4", "en", "es", tenant="many", title=f"Film {n}") for n in range(10_000)]
    ended = [State.FAILED if n % 100 == 0 else State.COMPLETED for n in range(10_000)]
    rows = [
        {**new_row(request, 1e9 + n), "state": state, "finished_at": 1e9 + n, "error": "it failed"}
        for n, (request, state) in enumerate(zip(asked, ended, strict=True))
    ]
    with house.database.write() as connection:
        connection.execute(insert(jobs), rows)
    here = visit("many")
    page = here.page
    here.go()
    expect(page.get_by_text("All 10,000")).to_be_visible()
    expect(page.locator(".row")).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".row")).to_have_count(100)
    titles = page.locator(".row-title").all_text_contents()
    assert titles == [f"Film {n}" for n in range(9999, 9899, -1)]
    page.get_by_text("Failed 100", exact=True).click()
    expect(page.locator(".row").first).to_contain_text("it failed")
    expect(page.locator(".row")).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".row")).to_have_count(100)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_the_operator_sees_everybody_and_others_only_themselves(visit: Visitor, done: str) -> None:
    operator = visit("ops")
    operator.go("#/service")
    row = operator.page.get_by_role("row").filter(has=operator.page.get_by_role("rowheader", name="ann", exact=True))
    expect(row).to_contain_text("none")
    operator.look_for_barriers()
    tenant = visit("ann")
    tenant.go("#/service")
    expect(tenant.page.get_by_role("heading", name="Your usage")).to_be_visible()
    expect(tenant.page.locator(".parts li").first).to_be_visible()
    expect(tenant.page.locator("table")).to_have_count(0)
