"""What the owner of a completed job changes in it, segment by segment, before it is dubbed again.

An edit belongs to a segment: its text to all targets, the rest to one of them. It lies in the job's row until it is
withdrawn, and every run applies it after the room whose work it replaces: a text after recognition, so that it is
translated and spoken; a translation or a voice after translation, so that it is only spoken. What the rooms make from
the rest has the keys that it had, so nothing else is done again.

Ids of segments are the same in every run that hears the same. An edit also keeps where its segment began: should a
newer recogniser hear something else there, the edit is left out, with a warning, instead of landing on other words.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update

from models.errors import InvalidJob, JobNotFound, WrongState
from models.segment import Segment
from models.translation.form import visible
from serve_app.jobs.database import Database
from serve_app.jobs.job import Control, Job, Progress, State
from serve_app.jobs.ledger import Row, later, locked
from serve_app.jobs.quotas import admit
from serve_app.jobs.tables import jobs
from serve_app.jobs.workspace import artifacts

Rows = Mapping[str, Any]
"""As in the job's row: `{"1001": {"start": 0.9, "text": …, "es": {"translation": …, "voice": …, "skip": …}}}`."""

SHOWN = ("id", "start", "end", "text", "translation", "alternatives", "voice", "speaker", "place", "tempo", "flags")
MAX_CHARACTERS = 2000
SAME_PLACE_S = 0.05


@dataclass(frozen=True, slots=True)
class Edit:
    """What is not None was changed. `voice` is male, female or neutral."""

    text: str | None = None
    translation: str | None = None
    voice: str | None = None
    skip: bool | None = None

    def apply(self, segment: Segment) -> Segment:
        """A translation by hand passes no checks and has no score: its owner answers for it."""
        changed = tuple(name for name, value in asdict(self).items() if value)
        segment = replace(segment, edited=changed, wanted_voice=self.voice)
        if self.text:
            segment = replace(segment, text=self.text)
        if self.translation:
            segment = replace(segment, translation=self.translation, score=None, condensed=False, flags=())
        return segment


class Edits:
    """The edits of one job, as the rooms of one target meet them."""

    def __init__(self, rows: Rows, target: str) -> None:
        self._rows = rows
        self._target = target

    def heard(self, segments: Sequence[Segment]) -> list[Segment]:
        """With the texts that are to be translated: where a translation was given as well, there is nothing to do."""
        found = [(segment, self._of(segment)) for segment in segments]
        return [replace(s, text=e.text, edited=("text",)) if e.text and not e.translation else s for s, e in found]

    def translated(self, segments: Sequence[Segment]) -> list[Segment]:
        """With everything that was changed."""
        return [self._of(segment).apply(segment) for segment in segments]

    def missed(self, segments: Sequence[Segment]) -> list[str]:
        """Ids of edits whose segment is not there, or begins elsewhere."""
        there = {str(segment.id) for segment in segments if self._fits(segment)}
        return [name for name in self._rows if name not in there]

    def _of(self, segment: Segment) -> Edit:
        return edit_of(self._rows, segment.id, self._target) if self._fits(segment) else Edit()

    def _fits(self, segment: Segment) -> bool:
        row = self._rows.get(str(segment.id))
        return row is not None and abs(row["start"] - segment.start) < SAME_PLACE_S


def edit_of(rows: Rows, segment: int, target: str) -> Edit:
    row = rows.get(str(segment), {})
    return Edit(text=row.get("text"), **row.get(target, {}))


class Editor:
    """All methods block. `root` is the folder of the artifacts; `clock` gives Unix seconds."""

    def __init__(self, database: Database, root: Path, max_queued: int, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._root = root
        self._max_queued = max_queued
        self._clock = clock

    def segments(self, job: Job, target: str = "") -> list[dict[str, Any]]:
        """Each segment as the last finished run left it, with its `edit` as it stands now. Raises as `_report`."""
        target = target or job.request.target_lang
        shown = {
            row["id"]: {name: row.get(name) for name in SHOWN} | {"edited": row.get("edited", [])}
            for row in self._report(job, target)
        }
        return [{**row, "edit": asdict(edit_of(job.edits, number, target))} for number, row in shown.items()]

    def change(self, job: Job, target: str, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Keeps `changes`, by segment id; None withdraws what was changed, and what is not named stays.

        Raises InvalidJob for an unknown segment or an empty text, and WrongState for a job that is under way.
        """
        target = target or job.request.target_lang
        starts = {row["id"]: row["start"] for row in self._report(job, target)}
        if unknown := [number for number in changes if number not in starts]:
            raise InvalidJob(f"this job has no segment {unknown[0]}; ask for its segments to see which there are")
        with self._database.write() as connection:
            row = _resting(connection, job.id)
            edits = dict(row["edits"] or {})
            for number, change in changes.items():
                before = edits.pop(str(number), {})
                if after := merged(before, target, change):
                    edits[str(number)] = {**after, "start": starts[number]}
            values = {"edits": edits or None, "updated_at": later(row, self._clock())}
            connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))

    def redub(self, job: Job) -> None:
        """Sends a job that has completed once back to the queue.

        Raises WrongState for any other, NotAllowed when its tenant has used up a limit.
        """
        if not all(Path(path).is_file() for path in (job.request.path, job.request.transcript) if path):
            raise WrongState("the video of this job is not there any more; upload it and submit it as a new job")
        with self._database.write() as connection:
            row = _resting(connection, job.id)
            now = self._clock()
            admit(connection, row["tenant"], self._max_queued, now)
            values = {
                "state": State.WAITING,
                "control": Control.RUN,
                "attempts": 0,
                "progress": asdict(Progress()),
                "error_code": "",
                "error": "",
                "admitted_at": now,
                "updated_at": later(row, now),
                "finished_at": None,
            }
            connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))

    def _report(self, job: Job, target: str) -> list[dict[str, Any]]:
        """Rows of the last report. Raises WrongState before there is one, InvalidJob for a target of another job."""
        if target not in job.request.targets:
            raise InvalidJob(f"this job is dubbed into {', '.join(job.request.targets)}; choose one of these")
        if job.result is None:
            raise WrongState("a job has segments to look at once it has completed")
        further = target if target in job.request.also else ""
        try:
            report = json.loads(artifacts(self._root, job.id, further).report.read_bytes())
        except (OSError, ValueError) as error:
            raise JobNotFound("the report of this job is not there any more") from error
        rows: list[dict[str, Any]] = report["segments"]
        return rows


def merged(before: Rows, target: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """A segment's edits with a change of them; empty when nothing is left. Raises InvalidJob for an empty text."""
    edits = {name: value for name, value in before.items() if name != "start"}
    own = dict(edits.pop(target, {}))
    for name, value in change.items():
        value = cleaned(value) if name in ("text", "translation") and value is not None else value
        (edits if name == "text" else own)[name] = value
    edits = {name: value for name, value in edits.items() if value is not None}
    own = {name: value for name, value in own.items() if value is not None and value is not False}
    return {**edits, **({target: own} if own else {})}


def cleaned(text: str) -> str:
    """Without what nobody sees. Raises InvalidJob when nothing is left, or too much."""
    clean = visible(text)[0].strip()
    if not clean:
        raise InvalidJob("a text cannot be empty; to keep the original sound there, skip the segment")
    if len(clean) > MAX_CHARACTERS:
        raise InvalidJob(f"a text is longer than {MAX_CHARACTERS} characters; say it shorter")
    return clean


def _resting(connection: Connection, job_id: str) -> Row:
    """The row of a job that has completed once and that nobody works on, locked. Raises WrongState."""
    row = locked(connection, job_id)
    if row["state"].live:
        raise WrongState("this job is under way; wait until it has ended, or cancel it")
    if row["result"] is None:
        raise WrongState("this job has not completed yet; only then it can be edited and dubbed again")
    return row
