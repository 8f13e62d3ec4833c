"""Frees the shared folders of what nobody needs any more. One loop in each Ingress; several of them do no harm.

    work        a job's folder goes some time after the job has ended, its previews on a date of their own; so does a
                workspace of no job, and what a killed process left
    uploads     a video or transcript goes some time after the last job that named it has ended; what no job ever named
                stays unless the settings say otherwise, since the folder may hold more than ours
    artifacts   results go on a date of their own, or never; early previews like other previews

What belongs to a job that waits, runs or is paused never goes, whoever holds its lease. To be sure of that at the very
moment, things are chosen at leisure, then asked for again and moved aside while the store is held still, and only then
taken apart: a job that comes back from its failure either finds its folder whole or finds none.

Age is the later of a file's two dates, so a copy that keeps its old date is new. Only that of a result is the date of
its content: a finished video has a second name in its workspace, and losing that one changes the other date. Clocks of
nodes and file servers must agree within the grace time. Rows of jobs stay unless the settings say otherwise, so a
completed job may outlive its files; which uploads have ever been named is read from all rows, a second for a hundred
thousand of them, but only when a file is old enough to go.

What ended processes have counted for Prometheus is folded into one file on the way; nothing of it is lost.
"""

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from math import inf
from pathlib import Path, PurePath
from typing import TypeVar

from configs.app import CleanupSettings, Roots
from serve_app.jobs import trash
from serve_app.jobs.job import State
from serve_app.jobs.oblivion import forget
from serve_app.jobs.quotas import recount
from serve_app.jobs.store import Store
from serve_app.jobs.trash import Trash
from serve_app.jobs.workspace import PREVIEWS, artifact_of, is_safe_id, is_workspace
from serve_app.telemetry.folding import fold
from serve_app.telemetry.metrics import FOLDER

logger = logging.getLogger(__name__)

T = TypeVar("T")
Ending = tuple[State, float | None]
BATCH = 50
"""Things that are moved aside in one moment of stillness."""

SCRATCH = ".audio-"
"""Folders in which recordings lie while somebody waits for their text."""
HALF = ".part"
"""How the name of an upload ends until all of it is there."""


class Cleanup:
    """`clock` gives Unix seconds."""

    def __init__(
        self, store: Store, roots: Roots, settings: CleanupSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._roots = roots
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        await asyncio.sleep(random.uniform(0, 0.1) * self._settings.every_s)  # noqa: S311
        while True:
            try:
                await asyncio.to_thread(self.sweep)
            except Exception:  # the store may be away for a while
                logger.exception("the shared folders could not be cleaned up")
            await asyncio.sleep(random.uniform(0.9, 1.1) * self._settings.every_s)  # noqa: S311

    def sweep(self) -> Counter[str]:
        """Goes through all folders once. How many things were removed, by kind, and the freed `bytes`."""
        removed: Counter[str] = Counter()
        for step in (self._leftovers, self._workspaces, self._artifacts, self._uploads, self._rows, self._figures):
            try:
                step(removed)
            except OSError:
                logger.exception("one of the shared folders could not be cleaned up")
        removed = +removed
        if removed:
            recount(self._store.database, self._roots.artifacts)
            kinds = ", ".join(f"{many} {kind}" for kind, many in sorted(removed.items()) if kind != "bytes")
            # a warning, since Ray shows no less of a library's log, and what was deleted should be known
            logger.warning("cleaned up %s: %.1f MB freed", kinds, removed["bytes"] / 1e6)
        return removed

    # -- work ------------------------------------------------------------------------------------------------------

    def _leftovers(self, removed: Counter[str]) -> None:
        """What a process that was killed left behind under a hidden name of ours."""
        work = self._roots.work
        for root in (work, *self._apart()):
            ours = (trash.PREFIX, SCRATCH) if root == work else (trash.PREFIX,)
            for name in trash.folders(root):
                if name.startswith(ours) and self._abandoned(root / name):
                    removed["bytes"] += trash.remove(root / name)
                    removed["strays"] += 1

    def _workspaces(self, removed: Counter[str]) -> None:
        root, apart = self._roots.work, self._apart()
        for names in batches(name for name in trash.folders(root, apart) if is_safe_id(name)):
            before = self._store.endings(names)
            going = {name: self._parts(name, before.get(name)) for name in names}
            if not any(going.values()):
                continue
            with self._moment(root, removed) as aside:
                now = self._store.endings(names)
                for name in (name for name in names if now.get(name) == before.get(name)):
                    taken = [aside.take(part) for part in going[name]]
                    removed["workspaces" if name in now else "strays"] += any(taken)

    def _parts(self, name: str, ending: Ending | None) -> list[PurePath]:
        """What of a folder may go: all of it, all but its previews, only them, or nothing."""
        folder = self._roots.work / name
        found = children(folder)
        if ending is None:
            return [PurePath(name)] if is_workspace(found) and self._abandoned(folder) else []
        age = self._since(ending)
        rest = kept(self._settings.redub_s if ending[0] is State.COMPLETED else self._settings.workspaces_s)
        going = [part for part in found if age > (kept(self._settings.previews_s) if part == PREVIEWS else rest)]
        return [PurePath(name)] if len(going) == len(found) and age > rest else [PurePath(name, part) for part in going]

    def _abandoned(self, folder: Path) -> bool:
        """Nothing in it has changed for the grace time."""
        since = self._clock() - self._settings.grace_s
        try:
            return changed(folder.lstat()) < since and all(changed(info) < since for info in trash.contents(folder))
        except FileNotFoundError:
            return False

    def _since(self, ending: Ending) -> float:
        """Seconds since a job has ended; less than nothing while it lives."""
        state, ended = ending
        return -inf if state.live or ended is None else self._clock() - ended

    def _apart(self) -> list[Path]:
        """The folders beside that of the workspaces: nothing in them is one, wherever an operator has put them."""
        return [self._roots.uploads, self._roots.artifacts]

    def _figures(self, removed: Counter[str]) -> None:  # noqa: ARG002 - nothing is
        fold(self._roots.work / FOLDER, self._clock() - self._settings.grace_s)

    # -- artifacts and uploads -------------------------------------------------------------------------------------

    def _rows(self, removed: Counter[str]) -> None:
        """After the files: which of them are left decides whether a job is forgotten."""
        if self._settings.rows_s is not None:
            before = self._clock() - self._settings.rows_s
            recount(self._store.database, self._roots.artifacts, before)
            removed += forget(self._store.database, before)

    def _artifacts(self, removed: Counter[str]) -> None:
        root, settings = self._roots.artifacts, self._settings
        old: list[tuple[PurePath, str, float]] = []
        for path, info in trash.files(root, [self._roots.work, self._roots.uploads]):
            job_id, is_preview = artifact_of(path)
            ttl = kept(settings.previews_s if is_preview else settings.artifacts_s)
            if job_id and self._clock() - info.st_mtime > ttl:
                old.append((path, job_id, ttl))
        for batch in batches(old):
            with self._moment(root, removed) as aside:
                endings, needed = self._store.endings([job_id for _, job_id, _ in batch]), self._needed()
                for path, job_id, ttl in batch:
                    ending = endings.get(job_id)  # a file that looks like one but has no job is not ours
                    if ending and self._since(ending) > ttl and identity(root / path) not in needed:
                        removed["artifacts"] += aside.take(path)

    def _uploads(self, removed: Counter[str]) -> None:
        root, settings = self._roots.uploads, self._settings
        if root in (self._roots.work, self._roots.artifacts):
            return  # nobody could tell an upload from what else lies there
        shortest = min(kept(settings.uploads_s), kept(settings.unnamed_uploads_s), settings.grace_s)
        found = trash.files(root, [self._roots.work, self._roots.artifacts])
        old = [(path, age) for path, info in found if (age := self._age(info)) > shortest]
        named = self._named() if old else set()
        for batch in batches(path for path, age in old if age > self._upload_ttl(root / path, named)):
            with self._moment(root, removed) as aside:
                needed = self._needed()
                for path in batch:
                    if identity(root / path) not in needed:
                        removed["uploads"] += aside.take(path)

    def _upload_ttl(self, path: Path, named: set[Path]) -> float:
        if path.name.endswith(HALF):
            return self._settings.grace_s
        return kept(self._settings.uploads_s if path in named else self._settings.unnamed_uploads_s)

    def _named(self) -> set[Path]:
        """Every file that a job has ever named, by its real place."""
        real = cache(os.path.realpath)
        return {Path(real(os.path.dirname(path)), os.path.basename(path)) for path in self._inputs()}  # noqa: PTH119, PTH120

    def _needed(self) -> set[tuple[int, int] | None]:
        """The files of jobs that live, or ended so lately that they may be submitted again."""
        return {identity(Path(path)) for path in self._inputs(self._clock() - (self._settings.uploads_s or 0.0))} - {
            None
        }

    def _inputs(self, since: float | None = None) -> Iterator[str]:
        return (path for path in self._store.inputs(since) if "\0" not in path)

    @contextmanager
    def _moment(self, root: Path, removed: Counter[str]) -> Iterator[Trash]:
        """The store is still inside; what was taken aside is taken apart afterwards."""
        aside = Trash(root)
        with self._store.still():
            yield aside
        removed["bytes"] += aside.empty()

    def _age(self, info: os.stat_result) -> float:
        return self._clock() - changed(info)


def batches(things: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(things)
    while batch := list(islice(rest, BATCH)):
        yield batch


def identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def changed(info: os.stat_result) -> float:
    return max(info.st_mtime, info.st_ctime)


def kept(ttl_s: float | None) -> float:
    return inf if ttl_s is None else ttl_s


def children(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
