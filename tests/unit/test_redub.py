"""Segments are looked at, changed and dubbed again: what is done twice, what is not, and what is refused."""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from configs.app import AppSettings
from models.errors import NotAllowed
from models.segment import Segment, Utterance
from serve_app.engines import Models
from serve_app.jobs.cleanup import Cleanup
from serve_app.jobs.edits import Editor, Edits, edit_of, merged
from serve_app.jobs.job import Request, State
from serve_app.jobs.runner import Runner
from serve_app.media import audio
from tests.unit.test_http import door, refused
from tests.unit.test_pipeline import Bench
from tests.unit.test_runner import SETTINGS, House

CALLS = "/v1/jobs/job/segments"


class Studio(House):
    """A service in one process, whose engines count their calls."""

    def __init__(self, folder: Path, talk: Path, url: str) -> None:
        super().__init__(folder, talk, url)
        self.bench = Bench(folder, talk)
        self.said: list[Utterance] = []
        self.runner = Runner(self.store, self.engines, SETTINGS, self.roots, "me")

    async def engines(self) -> Models:
        async def speak(utterance: Utterance) -> Any:
            self.said.append(utterance)
            return await self.bench.models.speak(utterance)

        return dataclasses.replace(self.bench.models, speak=speak)

    async def run(self) -> Counter[str]:
        """Works on the one job that waits; how often each engine was called."""
        self.bench.calls.clear()
        self.said.clear()
        assert await self.runner.run_next() == "job"
        job = self.store.job("job")
        assert job.state is State.COMPLETED, job.error
        return +self.bench.calls

    def report(self, language: str = "") -> list[dict[str, Any]]:
        dot = f".{language}" if language else ""
        rows: list[dict[str, Any]] = json.loads((self.roots.artifacts / f"job_report{dot}.json").read_bytes())[
            "segments"
        ]
        return rows

    def later(self, days: float) -> float:
        return time.time() + days * 24 * 3600

    def subtitles(self, kind: str = "_translated") -> str:
        return (self.roots.artifacts / f"job{kind}_subtitles.srt").read_text()


@pytest.fixture
def studio(tmp_path: Path, short_talk: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path, short_talk, f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    yield studio
    studio.store.close()


@pytest.fixture
async def http(studio: Studio) -> AsyncIterator[httpx.AsyncClient]:
    async def ready() -> dict[str, bool]:
        return {}

    transport = httpx.ASGITransport(door(studio.store, studio.roots, AppSettings(), ready))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        yield client


async def change(http: httpx.AsyncClient, *changes: dict[str, Any], target: str = "") -> list[dict[str, Any]]:
    answer = await http.patch(CALLS, json=changes, params={"target": target})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


async def redub(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/jobs/job/redub")
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "processing"


async def test_only_what_was_changed_is_done_again_and_a_withdrawn_change_goes_back(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    studio.submit()
    first = await studio.run()
    before = (await http.get(CALLS)).json()
    one, two, three = (row["id"] for row in before[:3])
    assert before == [{**row, "edit": dataclasses.asdict(edit_of({}, 0, "es"))} for row in before]
    assert [row["text"] for row in before] == [row["text"] for row in studio.report()]

    await change(http, {"id": one, "translation": "Dicho a mano."}, {"id": two, "text": "Other words, quite."})
    [row] = await change(http, {"id": three, "voice": "female"})
    assert row["edit"]["voice"] == "female" and row["edited"] == []
    await redub(http)
    again = await studio.run()
    assert (again["detect"], again["recognize"], again["translate"]) == (0, 0, 1)
    assert 3 <= again["speak"] < first["speak"] + 3
    assert {said.text for said in studio.said} == {
        "Dicho a mano.",
        "[Es] Other words, quite.",
        before[2]["translation"],
    }
    assert {said.gender for said in studio.said if said.text == before[2]["translation"]} == {"female"}
    rows = (await http.get(CALLS)).json()
    assert [row["edited"] for row in rows[:3]] == [["translation"], ["text"], ["voice"]]
    assert [row["edited"] for row in studio.report()[:3]] == [["translation"], ["text"], ["voice"]]
    assert [row["id"] for row in rows] == [row["id"] for row in before]
    assert rows[0]["translation"] == "Dicho a mano." and rows[1]["text"] == "Other words, quite."
    assert "Dicho a mano." in studio.subtitles() and "Other words" in studio.subtitles("")

    withdrawn = [{"id": one, "translation": None}, {"id": two, "text": None}, {"id": three, "voice": None}]
    await change(http, *withdrawn)
    assert studio.store.job("job").edits == {}
    await redub(http)
    back = await studio.run()
    assert back["recognize"] == back["translate"] == 0
    after = (await http.get(CALLS)).json()
    assert [(row["text"], row["translation"], row["edited"]) for row in after] == [
        (row["text"], row["translation"], []) for row in before
    ]


async def test_a_skipped_segment_keeps_its_sound_and_has_no_subtitle(studio: Studio, http: httpx.AsyncClient) -> None:
    studio.submit()
    await studio.run()
    row = (await http.get(CALLS)).json()[1]
    with_dub = sound(studio, row)
    await change(http, {"id": row["id"], "skip": True})
    await redub(http)
    calls = await studio.run()
    assert calls == {}
    [skipped] = [found for found in studio.report() if found["id"] == row["id"]]
    assert skipped["edited"] == ["skip"] and skipped["place"] is None and not skipped["spoken_at_all"]
    words = row["translation"].split()[-1]
    assert words not in studio.subtitles() and row["text"].split()[-1] not in studio.subtitles("")
    original = await original_sound(studio, row)
    assert likeness(sound(studio, row), original) > 0.9 > likeness(with_dub, original)


async def original_sound(studio: Studio, row: dict[str, Any]) -> Any:
    wav, rate = audio.read(studio.roots.work / "job" / "speech.wav")
    return wav[round(row["start"] * rate) : round(row["end"] * rate)]


def sound(studio: Studio, row: dict[str, Any]) -> Any:
    """What the dubbed video sounds like where a segment is, mono at 16 kHz."""
    with av.open(str(studio.roots.artifacts / "job_translated.mp4")) as film:
        resampler = av.AudioResampler("flt", "mono", 16_000)
        frames = [done for frame in film.decode(audio=0) for done in resampler.resample(frame)]
    heard = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return heard[round(row["start"] * 16_000) : round(row["end"] * 16_000)]


def likeness(one: Any, two: Any) -> float:
    """Largest correlation of two sounds that may lie some milliseconds apart."""
    length = min(len(one), len(two)) - 3200
    middle = two[1600 : 1600 + length]
    shifts = (one[at : at + length] for at in range(800, 2400, 1))
    return max(float(np.corrcoef(shift, middle)[0, 1]) for shift in shifts)


async def test_each_target_has_its_own_changes_and_all_share_the_text(studio: Studio, http: httpx.AsyncClient) -> None:
    studio.store.submit(Request("job", str(studio.video), "en", "es", subtitles="none", also=("fr",)))
    await studio.run()
    one, two = (row["id"] for row in (await http.get(CALLS)).json()[:2])
    await change(http, {"id": one, "translation": "Dit à la main."}, target="fr")
    await change(http, {"id": two, "text": "Shared words."})
    assert (await http.get(CALLS)).json()[0]["edit"]["translation"] is None
    assert (await http.get(CALLS, params={"target": "fr"})).json()[0]["edit"]["translation"] == "Dit à la main."
    await redub(http)
    calls = await studio.run()
    assert calls["translate"] == 2 and calls["recognize"] == 0
    assert {said.text for said in studio.said} == {"Dit à la main.", "[Es] Shared words.", "[Fr] Shared words."}
    assert studio.report("fr")[0]["translation"] == "Dit à la main." != studio.report()[0]["translation"]
    answer = await http.get(CALLS, params={"target": "de"})
    assert "es, fr" in refused(answer, 422, "invalid_job")
    names = (await http.get("/v1/jobs/job/result")).json()["artifacts"]
    assert {"translated.mp4", "translated.fr.mp4", "report.fr.json", "subtitles.srt"} <= set(names)
    film = await http.get(names["translated.fr.mp4"])
    assert film.status_code == 200 and len(film.content) > 10_000


async def test_what_cannot_be_changed_is_refused(studio: Studio, http: httpx.AsyncClient) -> None:
    refused(await http.get(CALLS), 404, "job_not_found")
    studio.submit()
    refused(await http.get(CALLS), 409, "wrong_state")
    refused(await http.patch(CALLS, json=[{"id": 1, "skip": True}]), 409, "wrong_state")
    refused(await http.post("/v1/jobs/job/redub"), 409, "wrong_state")
    await studio.run()
    one = (await http.get(CALLS)).json()[0]["id"]
    assert "segment 77" in refused(await http.patch(CALLS, json=[{"id": 77, "skip": True}]), 422, "invalid_job")
    assert "skip" in refused(await http.patch(CALLS, json=[{"id": one, "text": " \u200b "}]), 422, "invalid_job")
    assert "2000" in refused(await http.patch(CALLS, json=[{"id": one, "text": "x" * 2001}]), 422, "invalid_job")
    assert "voice" in refused(await http.patch(CALLS, json=[{"id": one, "voice": "dog"}]), 422, "invalid_request")
    assert "loud" in refused(await http.patch(CALLS, json=[{"id": one, "loud": 1}]), 422, "invalid_request")
    assert "1000" in refused(await http.patch(CALLS, content=b"x" * 10_000_000), 413, "too_large")
    assert studio.store.job("job").edits == {}
    await redub(http)
    refused(await http.patch(CALLS, json=[{"id": one, "skip": True}]), 409, "wrong_state")
    refused(await http.post("/v1/jobs/job/redub"), 409, "wrong_state")
    assert len((await http.get(CALLS)).json()) >= 3  # they can be looked at meanwhile
    await http.post("/v1/jobs/job/cancel")
    await redub(http)  # it has completed once
    await studio.run()
    studio.video.unlink()
    assert "video" in refused(await http.post("/v1/jobs/job/redub"), 409, "wrong_state")
    (studio.roots.artifacts / "job_report.json").unlink()
    refused(await http.get(CALLS), 404, "job_not_found")


async def test_a_redub_whose_workspace_is_gone_hears_the_film_again(studio: Studio, http: httpx.AsyncClient) -> None:
    studio.submit()
    first = await studio.run()
    one = (await http.get(CALLS)).json()[0]["id"]
    await change(http, {"id": one, "translation": "Dicho a mano."})
    Cleanup(studio.store, studio.roots, SETTINGS.cleanup, clock=lambda: studio.later(1.1)).sweep()
    assert not (studio.roots.work / "job").exists()
    await redub(http)
    again = await studio.run()
    assert again["recognize"] == first["recognize"]
    assert studio.report()[0]["translation"] == "Dicho a mano."


async def test_a_service_that_never_dubs_again_keeps_no_workspace(studio: Studio) -> None:
    settings = SETTINGS.model_copy(update={"cleanup": SETTINGS.cleanup.model_copy(update={"redub_s": 0.0})})
    studio.submit()
    await Runner(studio.store, studio.engines, settings, studio.roots, "me").run_next()
    assert studio.store.job("job").state is State.COMPLETED
    assert not (studio.roots.work / "job").exists()


def test_an_edit_whose_segment_lies_elsewhere_now_is_left_out_and_told() -> None:
    rows = {"1001": {"start": 0.9, "text": "new"}, "1002": {"start": 5.0, "es": {"skip": True}}}
    edits = Edits(rows, "es")
    segments = [Segment(1001, 0.91, 2.0, "old"), Segment(1002, 3.0, 4.0, "other")]
    assert [s.text for s in edits.heard(segments)] == ["new", "other"]
    assert [s.edited for s in edits.translated(segments)] == [("text",), ()]
    assert edits.missed(segments) == ["1002"]


def test_a_text_whose_translation_was_given_as_well_is_not_translated() -> None:
    edits = Edits({"1": {"start": 0.0, "text": "new", "es": {"translation": "nuevo"}}}, "es")
    [heard] = edits.heard([Segment(1, 0.0, 1.0, "old")])
    assert (heard.text, heard.edited) == ("old", ())
    [done] = edits.translated([dataclasses.replace(heard, translation="viejo", score=-1.0, flags=("length",))])
    assert (done.text, done.translation, done.edited) == ("new", "nuevo", ("text", "translation"))
    assert (done.score, done.flags) == (None, ())


async def test_a_redub_counts_as_a_job_that_waits(studio: Studio) -> None:
    studio.submit()
    await studio.run()
    editor = Editor(studio.store.database, studio.roots.artifacts, max_queued=0)
    with pytest.raises(NotAllowed, match="wait"):
        editor.redub(studio.store.job("job"))
    assert studio.store.job("job").state is State.COMPLETED


def test_changes_are_merged_and_vanish_when_they_are_withdrawn() -> None:
    first = merged({}, "es", {"text": " a\u200bb ", "skip": True})
    assert first == {"text": "ab", "es": {"skip": True}}
    second = merged({**first, "start": 1.0}, "fr", {"voice": "male"})
    assert second == {"text": "ab", "es": {"skip": True}, "fr": {"voice": "male"}}
    assert merged(second, "es", {"skip": False}) == {"text": "ab", "fr": {"voice": "male"}}
    assert merged({"es": {"skip": True}}, "es", {"skip": None}) == {}


async def test_a_job_that_is_submitted_with_another_wish_loses_its_edits(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    studio.submit()
    await studio.run()
    one = (await http.get(CALLS)).json()[0]["id"]
    await change(http, {"id": one, "skip": True})
    await redub(http)
    await http.post("/v1/jobs/job/cancel")
    studio.submit()
    assert studio.store.job("job").edits[str(one)]["es"] == {"skip": True}
    await http.post("/v1/jobs/job/cancel")
    studio.store.submit(Request("job", str(studio.video), "en", "fr", subtitles="none"))
    assert studio.store.job("job").edits == {}
