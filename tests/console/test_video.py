"""A video in a real browser, over the real service: from its upload to the dub that plays, and an edit of it."""

import re
from base64 import b64encode
from pathlib import Path

from playwright.sync_api import expect

from tests.console.conftest import BOTH_PLAY, House, Visitor

TIMES = "[...document.querySelectorAll('.screen video')].map(one => one.currentTime)"


def test_from_an_upload_to_the_dub_that_plays(visit: Visitor, clip: Path) -> None:
    here = visit("ben")
    page = here.page
    here.go()
    expect(page.get_by_role("heading", name="No videos yet")).to_be_visible()
    here.look_for_barriers()
    here.upload(clip)
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
    page.get_by_role("button", name="Full screen").click()
    page.get_by_role("button", name="Leave full screen").click()
    expect(page.get_by_role("button", name="Full screen", exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the dub").click()
    assert download.value.suggested_filename == "talk_translated.mp4"


def test_several_videos_are_dropped(visit: Visitor, house: House, clip: Path) -> None:
    here = visit(house.held("eva"), viewport={"width": 360, "height": 740})
    page = here.page
    long = f"{'a name that does not want to end ' * 4}.mp4"
    here.go()
    page.get_by_role("checkbox", name="Spanish").check(force=True)
    data = page.evaluate_handle(
        """([content, ...names]) => {
            const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
            const data = new DataTransfer();
            for (const name of names) data.items.add(new File([bytes], name));
            return data;
        }""",
        [b64encode(clip.read_bytes()).decode(), "one.mp4", long, "read me.txt"],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(".drop", event, {"dataTransfer": data})
    expect(page.get_by_role("alert")).to_contain_text("read me.txt does not look like a video")
    expect(page.locator(".chosen li")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Remove one.mp4").click()
    page.dispatch_event(".drop", "drop", {"dataTransfer": data})
    page.get_by_role("button", name="Dub 3 videos").click()
    expect(page.locator(".row-title")).to_have_text([long, "one.mp4", long])
    expect(page.locator(".uploads li")).to_have_count(0)


def test_what_is_there_of_a_finished_video(visit: Visitor, house: House, done: str) -> None:
    here = visit("ann")
    page = here.page
    here.go(f"#/jobs/{done}")
    expect(page.locator(".segment textarea").first).to_be_visible()
    here.look_for_barriers()

    page.get_by_role("tab", name="Quality").click()
    expect(page.get_by_text("In time", exact=True)).to_be_visible()
    expect(page.locator(".insights li").first).to_be_visible()
    expect(page.get_by_role("tabpanel").get_by_role("img", name="Timeline")).to_be_visible()
    expect(page.get_by_role("row", name="sentences spoken")).to_contain_text("95 %")
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
