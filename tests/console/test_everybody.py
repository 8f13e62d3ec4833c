"""Whoever comes: with a key or without, by keyboard, on a telephone, in the dark, with ten thousand videos."""

from pathlib import Path

import pytest
from playwright.sync_api import Response, expect
from sqlalchemy import insert

from serve_app.jobs.job import Request, State
from serve_app.jobs.tables import jobs, new_row
from tests.console.conftest import BOTH_PLAY, House, Visit, Visitor


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


PLAIN = (".files li", ".log li")
"""Views whose barriers are looked for in another test, and which have no colours of their own."""


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
    page.on("filechooser", lambda chooser: chooser.set_files(clip))  # from now on, not from some moment after the key
    here.go()
    expect(page.locator(".new")).to_be_visible()
    tab_to(here, ".skip")
    keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(here, "#files")
    keyboard.press("Enter")
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


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1280, "dark")])
def test_every_view(visit: Visitor, house: House, done: str, width: int, scheme: str) -> None:
    """As a telephone or a desk shows it, without a barrier and without anything beyond the edge."""
    small = {"is_mobile": True, "has_touch": True} if width < 500 else {}
    look = {"viewport": {"width": width, "height": 740}, "color_scheme": scheme, **small}
    guest, tenant, operator = visit(**look), visit("ann", **look), visit("ops", **look)
    views = [
        (guest, "#/", "#key"),
        (tenant, "#/", ".row"),
        (tenant, f"#/jobs/{done}", ".segment textarea"),
        (tenant, f"#/jobs/{done}/quality", ".gates"),
        (tenant, f"#/jobs/{done}/files", ".files li"),
        (tenant, f"#/jobs/{done}/log", ".log li"),
        (operator, "#/service", "tbody tr"),
    ]
    for here, address, there in views:
        here.page.goto("about:blank")
        here.go(address)
        expect(here.page.locator(there).first).to_be_visible()
        assert here.page.evaluate("document.documentElement.scrollWidth") <= width, address
        if there not in PLAIN:
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
    expect(page.locator(".row").first).to_contain_text("It failed.")
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
