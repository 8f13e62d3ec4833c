"""Time to claim the next job from a long queue, in SQLite: `python -m tests.bench.claim --waiting 10000`.

What is measured is one claim after the other in one process. Its commit waits for the disk (an fsync), and on a machine
that others use it waits for the processor as well: so the CPU time is told beside the wall time. The runs of the last
hour count, because the fair share looks at them, and so do the jobs under way: beyond `--running`, the oldest one ends
after each claim, which is not timed.
"""

import argparse
import json
import tempfile
import time
from collections import deque
from pathlib import Path

from sqlalchemy import insert

from configs.app import JobSettings
from serve_app.jobs.job import Job, Request, State
from serve_app.jobs.store import Store
from serve_app.jobs.tables import attempts, jobs, new_row
from serve_app.jobs.tenants import Tenant, Tenants


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("waiting", 10_000), ("tenants", 10), ("recent", 500), ("claims", 500), ("running", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder, 'jobs.sqlite')}", JobSettings(lease_s=1e6))
        store.create()
        fill(store, asked.waiting, asked.tenants, asked.recent)
        store.claim("first")
        times, under_way = [], deque[Job]()
        for _ in range(asked.claims):
            job, wall, cpu = one(store)
            times.append((wall, cpu))
            under_way.append(job)
            if len(under_way) > asked.running:
                ended = under_way.popleft()
                store.fail(ended.id, ended.fence, "", "")
        store.close()
    walls, cpus = (sorted(column) for column in zip(*times, strict=True))
    told = {
        f"{name}_{q}_ms": round(1e3 * at(row, q), 2) for name, row in (("wall", walls), ("cpu", cpus)) for q in (50, 95)
    }
    for name, value in told.items():
        print(f"{name:12} {value:8.2f}")
    print(json.dumps({**vars(asked), **told}))


def fill(store: Store, waiting: int, tenants: int, recent: int) -> None:
    now = time.time()

    def row(kind: str, number: int) -> dict[str, object]:
        return new_row(Request(f"{kind}-{number}", "/in.mp4", "en", "es", tenant=f"t{number % tenants}"), now - waiting)

    for number in range(tenants):
        Tenants(store.database).add(Tenant(f"t{number}", weight=1.0 + number % 3))
    ended = [{**row("old", n), "state": State.COMPLETED} for n in range(recent)]
    begun = [
        {"job_id": one["id"], "tenant": one["tenant"], "fence": 1, "owner": "", "began": now - 60} for one in ended
    ]
    with store.database.write() as connection:
        connection.execute(insert(jobs), [row("new", n) for n in range(waiting)])
        connection.execute(insert(jobs), ended)
        connection.execute(insert(attempts), begun)


def one(store: Store) -> tuple[Job, float, float]:
    """The job, and the seconds of wall time and of CPU that claiming it took."""
    wall, cpu = time.perf_counter(), time.thread_time()
    job = store.claim("bench")
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    assert job is not None
    return job, wall, cpu


def at(row: list[float], percent: int) -> float:
    return row[min(len(row) - 1, len(row) * percent // 100)]


if __name__ == "__main__":
    main()
