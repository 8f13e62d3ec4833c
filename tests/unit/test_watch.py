"""Streams over a real store: snapshots when something changed, heartbeats when nothing did, and an end."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from configs.app import JobSettings
from models.errors import JobNotFound
from serve_app.jobs.job import Control, LogLine, Progress, Request, State
from serve_app.jobs.store import Store
from serve_app.jobs.tokens import Tokens
from serve_app.jobs.watch import Watch

SETTINGS = JobSettings(tick_s=0.02, heartbeat_s=0.1)
REQUEST = Request("a", "/uploads/a.mp4", "en", "es")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url, SETTINGS)
    store.create()
    yield store
    store.close()


@pytest.fixture
async def watch(store: Store) -> AsyncIterator[Watch]:
    watch = Watch(store, SETTINGS)
    loop = asyncio.create_task(watch.run())
    yield watch
    loop.cancel()


async def test_a_stream_shows_changes_and_ends_with_the_job(store: Store, watch: Watch) -> None:
    store.submit(REQUEST)
    seen = []
    async for job, lines in watch.follow("a"):
        seen.append((job.state, job.progress.percent, [line.message for line in lines]))
        if len(seen) == 1:
            claimed = store.claim("me")
            assert claimed is not None
            store.renew("a", claimed.fence, Progress(percent=40.0), [LogLine("t1", "info", "tts", "half way")])
        elif job.state is State.RUNNING:
            store.fail("a", job.fence, "no_speech", "nothing was said")
    assert seen[0] == (State.WAITING, 0.0, [])
    assert (State.RUNNING, 40.0, ["half way"]) in seen
    assert seen[-1][0] is State.FAILED
    assert seen[-1][2] == ["half way"]  # the log is repeated to the end


async def test_a_silent_job_still_gives_heartbeats(store: Store, watch: Watch) -> None:
    store.submit(REQUEST)
    stream = watch.follow("a")
    beats = [await asyncio.wait_for(anext(stream), 1.0) for _ in range(4)]
    assert {job.state for job, _ in beats} == {State.WAITING}
    await stream.aclose()


async def test_a_resubmitted_job_does_not_show_its_old_end(store: Store, watch: Watch) -> None:
    store.submit(REQUEST)
    first = watch.follow("a")
    await anext(first)
    store.control("a", Control.CANCEL)
    assert [job.state async for job, _ in first][-1] is State.CANCELLED
    store.submit(REQUEST)
    second = watch.follow("a")
    states = [(await anext(second))[0].state for _ in range(3)]
    assert set(states) == {State.WAITING}
    await second.aclose()


async def test_following_an_unknown_job_is_refused(watch: Watch) -> None:
    with pytest.raises(JobNotFound):
        await anext(watch.follow("nobody"))


async def test_there_are_as_many_tokens_as_unfinished_jobs(store: Store) -> None:
    for name in "abc":
        store.submit(Request(name, "/uploads/a.mp4", "en", "es"))
    spent: list[str] = []
    gate = asyncio.Event()

    async def spend() -> str:
        job = store.claim("driver")
        assert job is not None
        spent.append(job.id)
        await gate.wait()
        store.fail(job.id, job.fence, "no_speech", "nothing was said")
        return job.id

    loop = asyncio.create_task(Tokens(store, spend, SETTINGS.tick_s, asyncio.Event()).run())
    async with asyncio.timeout(2):
        while len(spent) < 3:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert sorted(spent) == ["a", "b", "c"]  # no fourth token while three are out
    gate.set()
    await asyncio.sleep(0.1)
    assert store.unfinished() == 0
    loop.cancel()


async def test_news_of_a_job_is_not_left_until_the_tick(store: Store) -> None:
    news, spent = asyncio.Event(), asyncio.Event()

    async def spend() -> str:
        spent.set()
        await asyncio.sleep(60)
        return "a"

    loop = asyncio.create_task(Tokens(store, spend, 60.0, news).run())
    await asyncio.sleep(0.2)
    store.submit(REQUEST)
    news.set()
    await asyncio.wait_for(spent.wait(), 2)
    loop.cancel()


async def test_a_lost_token_is_sent_again(store: Store) -> None:
    store.submit(REQUEST)
    calls = 0
    done = asyncio.Event()

    async def spend() -> str | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("the replica died")
        done.set()
        return "a"

    loop = asyncio.create_task(Tokens(store, spend, SETTINGS.tick_s, asyncio.Event()).run())
    await asyncio.wait_for(done.wait(), 2)
    loop.cancel()


async def test_clients_that_go_away_in_a_crowd_stop_nobody_else(store: Store, watch: Watch) -> None:
    """Shutting down cancels a stream again while it is still ending from the first time."""
    store.submit(REQUEST)

    async def show() -> None:
        async for _ in watch.follow("a"):
            pass

    going = [asyncio.create_task(show()) for _ in range(20)]
    staying = watch.follow("a")
    await anext(staying)
    await asyncio.sleep(0.1)
    for _ in range(3):
        for task in going:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*going, return_exceptions=True), 5.0)
    claimed = store.claim("me")
    assert claimed is not None
    store.renew("a", claimed.fence, Progress(percent=40.0))
    async with asyncio.timeout(5.0):
        async for job, _ in staying:
            if job.progress.percent == 40.0:
                break
    await staying.aclose()
