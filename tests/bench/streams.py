"""What it costs to show their progress to many clients, in SQLite: `python -m tests.bench.streams --streams 500`.

One process follows as many jobs as there are streams, the way Ingress does; some of them are being worked on and say so
every second, as a Driver does from a process of its own, and the others wait. Each message is made as the wire wants it
and thrown away. Told is the share of one processor that the following process takes, and what it sends.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from configs.app import JobSettings
from serve_app.doors import wire
from serve_app.jobs.job import LogLine, Progress, Request
from serve_app.jobs.store import Store
from serve_app.jobs.watch import Watch

SETTINGS = JobSettings(lease_s=1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("streams", 500), ("running", 16), ("seconds", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder, 'jobs.sqlite')}"
        store = Store(url, SETTINGS)
        store.create()
        for number in range(asked.streams):
            store.submit(Request(f"job-{number}", "/in.mp4", "en", "es", tenant=f"t{number % 10}"))
        driver = multiprocessing.get_context("spawn").Process(target=drive, args=(url, asked.running), daemon=True)
        driver.start()
        time.sleep(2)  # until it has begun
        told = asyncio.run(follow_all(store, asked.streams, asked.seconds))
        driver.terminate()
        driver.join()
        store.close()
    for name, value in told.items():
        print(f"{name:22} {value:8.2f}")
    print(json.dumps({**vars(asked), **told}))


def drive(url: str, running: int) -> None:
    """Works on some jobs: a renewal a second with a step of progress and a line of log."""
    store = Store(url, SETTINGS)
    claimed = [job for job in (store.claim(f"driver-{n}") for n in range(running)) if job]
    for step in range(1_000_000):
        for job in claimed:
            line = LogLine(f"2026-01-01T00:00:{step % 60:02}.000000Z", "info", "tts", f"step {step}")
            store.renew(job.id, job.fence, Progress(percent=step % 100), [line])
        time.sleep(1)


async def follow_all(store: Store, streams: int, seconds: int) -> dict[str, float]:
    watch, sent = Watch(store, SETTINGS), [0]

    async def follow(job_id: str) -> None:
        async for job, lines in watch.follow(job_id):
            wire.progress(job, lines).SerializeToString()
            sent[0] += 1

    tasks = [asyncio.create_task(watch.run()), *(asyncio.create_task(follow(f"job-{n}")) for n in range(streams))]
    await asyncio.sleep(5)  # until all have their first snapshot
    cpu, wall, before = time.process_time(), time.monotonic(), sent[0]
    await asyncio.sleep(seconds)
    took = time.monotonic() - wall
    told = {
        "percent_of_a_core": 100 * (time.process_time() - cpu) / took,
        "messages_a_second": (sent[0] - before) / took,
    }
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks)
    return told


if __name__ == "__main__":
    main()
