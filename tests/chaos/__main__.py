"""Kills the service while it works, again and again, and counts what was lost and what was done twice.

    make chaos                                   # 20 jobs, a kill every 2 s, everything started again three times;
                                                 # the same on PostgreSQL, and with ten updates in place of the kills
    python -m tests.chaos --jobs 4 --kills 3     # the short one that `make test` runs

The films are dubbed once in this process, undisturbed. Then the real service is started, with the same engines made
slow, and given them all at once; while it works a part of it, chosen by chance, is killed every few seconds, and later
everything at the same moment, after which it is started again as whoever supervises it would. Or it is updated: all
parts are replaced by new ones, one after the other, as after a change of its config. When every job has ended,
its files must equal those of the undisturbed dub, and no engine may have been asked for what it had answered before.

It ends with a table and one line of JSON. The exit code is 0 if nothing was lost, nothing differs, and nothing was done
twice. Where it may, it runs in a network namespace of its own, since Ray's processes listen on every interface.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.app import AppSettings
from models.errors import DubError
from serve_app.attempt import dub
from serve_app.jobs.job import Request
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.local import models
from tests import postgres
from tests.chaos import journal
from tests.chaos.alone import alone
from tests.chaos.application import PARTS, Application, send
from tests.chaos.films import film, fingerprint
from tests.chaos.journal import Span

ENGINES = "tests.chaos.engines"
ARGS: dict[str, Any] = {
    "engines": {
        "vad": {"engine": f"{ENGINES}:Vad"},
        "asr": {"engine": f"{ENGINES}:Recognizer"},
        "translation": {"engine": f"{ENGINES}:Translator"},
        "tts": {"engines": [f"{ENGINES}:Tts"]},
    },
    "pipeline": {
        "mux": {"x264_preset": "ultrafast"},
        "windows": {"min_s": 3, "max_s": 6},
        "speak": {"asks": 1},  # an answer is kept when it comes: none is lost because a better one was awaited
    },
    "jobs": {"lease_s": 4.0},
}
SETTINGS = AppSettings.model_validate(ARGS)
PATIENCE_S = 240.0
DIES_BY_ITSELF_S = 30.0


@dataclass
class Outcome:
    submitted: int
    database: str = "sqlite"
    finished: int = 0
    different: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    cuts: list[Span] = field(default_factory=list)
    updates: int = 0
    under_load: int = 0
    restarts: int = 0
    hung: int = 0
    calls: int = 0
    repeated_calls: int = 0
    excused_calls: int = 0
    seconds: float = 0.0
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.finished == self.submitted and not (self.different or self.repeated_calls or self.hung)

    def row(self) -> dict[str, Any]:
        return {
            "database": self.database,
            "submitted": self.submitted,
            "finished": self.finished,
            "different": self.different,
            "errors": len(self.errors),
            "kills": sum(self.kills.values()),
            "restarts": self.restarts,
            "updates": self.updates,
            "under_load": self.under_load,
            "hung": self.hung,
            "calls": self.calls,
            "repeated_calls": self.repeated_calls,
            "excused_calls": self.excused_calls,
            "seconds": round(self.seconds, 1),
        }


async def undisturbed(films: dict[str, Path], folder: Path) -> tuple[dict[str, str], set[journal.Work]]:
    """The fingerprint of each film's dub, and what the engines were asked for all of them."""
    os.environ.update(CHAOS_JOURNAL=str(folder / "undisturbed.jsonl"), CHAOS_DELAY_S="0")
    (folder / "out").mkdir(parents=True)
    engines = models(SETTINGS.engines)
    found = {}
    for job_id, path in films.items():
        files = artifacts(folder / "out", job_id)
        workspace = Workspace(folder / "work", job_id)
        await dub(Request(job_id, str(path), "", "es"), engines, SETTINGS, workspace, files, Report(job_id))
        found[job_id] = fingerprint(files)
    return found, journal.done(journal.read(folder / "undisturbed.jsonl"))


class Listener(threading.Thread):
    """A client that sends one film and follows it to its end, through the streams' breaks."""

    def __init__(self, application: Application, job_id: str, path: Path) -> None:
        super().__init__(name=job_id, daemon=True)
        self._application, self._job_id, self._path = application, job_id, path
        self.error = ""
        self.accepted = threading.Event()

    def run(self) -> None:
        try:
            with replace(self._application.client(), patience_s=PATIENCE_S) as client:
                for _ in client.translate(self._job_id, str(self._path), "es"):
                    self.accepted.set()
                client.result(self._job_id)
        except DubError as error:
            self.error = str(error) or error.code
        finally:
            self.accepted.set()


class Chaos:
    """One run: `plan` is what happens, a role to kill or "restart", one every `every_s` seconds."""

    def __init__(
        self, application: Application, listeners: list[Listener], every_s: float, seed: int, database: str
    ) -> None:
        self._application = application
        self._listeners = listeners
        self._every_s = every_s
        self._chance = random.Random(seed)
        self.outcome = Outcome(len(listeners), database)

    def run(self, kills: int, ends: list[str], updates: int = 0) -> None:
        """`kills` of parts or `updates` of all, with the `ends` of everything spread evenly among them."""
        steps = ["part"] * kills + ["update"] * updates
        for number, end in enumerate(ends, 1):
            steps.insert(round(len(steps) * number / (len(ends) + 1)), end)
        for step in steps:
            time.sleep(self._every_s)
            if step == "update":
                self._update()
                continue
            if not self._alive():
                return
            self._part() if step == "part" else self._end(step)

    def _alive(self) -> int:
        return sum(listener.is_alive() for listener in self._listeners)

    def _update(self) -> None:
        """What is under way in a part that is replaced may be cut off at any moment until all are new."""
        began, under_load = time.time(), self._alive()
        seconds = self._application.update()
        self.outcome.cuts.append((began, time.time()))
        self.outcome.updates += 1
        self.outcome.under_load += under_load > 0
        print(f"  updated in {seconds:.1f} s; of {under_load} jobs, {self._alive()} are to go", flush=True)

    def _part(self) -> None:
        there = [process for role in PARTS for process in self._application.of_role(role)]
        roles = sorted({role for role in PARTS if self._application.of_role(role)})
        if not there:
            return
        role = self._chance.choice(roles)
        for process in self._application.of_role(role)[:1]:
            self._killed(role, send(process, 9))

    def _end(self, what: str) -> None:
        """Everything, or the process of Ray that everything hangs on; the service must then end by itself."""
        if what == "all":
            self._killed("everything", True)
            self._application.kill_all()
        else:
            for process in self._application.of_role(what)[:1]:
                self._killed(what, send(process, 9))
            self.outcome.hung += not self._application.ended_within(DIES_BY_ITSELF_S)
            self._application.kill_all()
        print(f"  started again in {self._application.start():.1f} s", flush=True)
        self.outcome.restarts += 1

    def _killed(self, role: str, there: bool) -> None:
        if there:
            self.outcome.kills[role] += 1
            self.outcome.cuts.append((time.time(), time.time()))
            print(f"  killed {role}; {self._alive()} jobs to go", flush=True)


def measure(
    outcome: Outcome, application: Application, expected: dict[str, str], work: set[journal.Work], delay: float
) -> None:
    for job_id, fingerprint_ in expected.items():
        try:
            same = fingerprint(artifacts(application.roots["ARTIFACTS_DIR"], job_id)) == fingerprint_
        except (OSError, subprocess.CalledProcessError):
            continue
        outcome.finished += 1
        outcome.different += not same
    calls = journal.read(application.journal)
    vain, excused = journal.repeated(calls, outcome.cuts, work, delay)
    outcome.calls, outcome.repeated_calls, outcome.excused_calls = len(calls), len(vain), len(excused)
    for call in vain[:10]:
        print(f"  again: {call.work}, first answered at {call.ended}, kills {outcome.cuts}")


def chaos(options: argparse.Namespace, folder: Path) -> Outcome:
    (folder / "films").mkdir()
    names = [f"chaos-{number:02}" for number in range(options.jobs)]
    films = {name: film(folder / "films" / f"{name}.mp4", n, options.seconds) for n, name in enumerate(names)}
    print(f"dubbing {len(films)} films of {options.seconds:g} s undisturbed", flush=True)
    expected, work = asyncio.run(undisturbed(films, folder / "undisturbed"))
    with database(options.database) as environment:
        environment["CHAOS_DELAY_S"] = str(options.delay)
        return disturbed(options, Application(folder / "service", ARGS, environment), films, expected, work)


def disturbed(
    options: argparse.Namespace,
    application: Application,
    films: dict[str, Path],
    expected: dict[str, str],
    work: set[journal.Work],
) -> Outcome:
    with application.gone_afterwards():
        print(f"service ready in {application.start():.1f} s", flush=True)
        began = time.monotonic()
        listeners = [Listener(application, name, application.take(path)) for name, path in films.items()]
        for listener in listeners:
            listener.start()
        for listener in listeners:
            listener.accepted.wait(60)
        run = Chaos(application, listeners, options.every, options.seed, options.database)
        run.run(options.kills, options.ends.split(",") if options.ends else [], options.updates)
        deadline = time.monotonic() + options.limit
        for listener in listeners:
            listener.join(max(0.0, deadline - time.monotonic()))
            if listener.is_alive():
                listener.error = "it has not ended in time"
        run.outcome.seconds = time.monotonic() - began
        run.outcome.errors = {listener.name: listener.error for listener in listeners if listener.error}
        measure(run.outcome, application, expected, work, options.delay)
    return run.outcome


@contextmanager
def database(kind: str) -> Iterator[dict[str, str]]:
    """What the service has to be told to keep its jobs there; a PostgreSQL that outlives all kills."""
    if kind == "sqlite":
        yield {}
        return
    if reason := postgres.why_not():
        sys.exit(reason)
    with postgres.running() as server:
        yield {"DATABASE_URL": server.schema()}


def table(outcome: Outcome) -> None:
    rows = {**outcome.row(), **{f"kills of {role}": count for role, count in sorted(outcome.kills.items())}}
    for name, value in rows.items():
        print(f"{name:<24}{value:>10}")
    for job_id, error in outcome.errors.items():
        print(f"{job_id}: {error}")


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each film")
    parser.add_argument("--delay", type=float, default=0.3, help="seconds that each call of an engine takes")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between kills")
    parser.add_argument("--kills", type=int, default=60, help="of parts, at most; there are none once all jobs ended")
    parser.add_argument("--ends", default="raylet,gcs,all", help="what is killed that takes everything with it")
    parser.add_argument("--updates", type=int, default=0, help="times that all parts are replaced, one after the other")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that jobs may take after the last kill")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main() -> int:
    asked = options(sys.argv[1:])
    # who is made root to get a namespace cannot be another user in there, and PostgreSQL wants no root
    if os.geteuid() == 0 or asked.database != "postgresql":
        alone("tests.chaos", sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # as Ctrl-C does: the service goes as well
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        outcome = chaos(asked, Path(folder))
    table(outcome)
    print(json.dumps(outcome.row()))
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
