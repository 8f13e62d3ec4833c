"""The database under the store: its schema through the releases, many processes on it, what each kind does alone."""

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, TableClause, column, event, inspect, select, table
from sqlalchemy.exc import IntegrityError

from configs.app import JobSettings
from models.errors import ArtifactMissing, OutOfSpace, StoreTooNew
from serve_app.jobs.database import Database, open_database
from serve_app.jobs.job import Progress, State
from serve_app.jobs.store import Store
from serve_app.jobs.tables import attempts, jobs, logs, metadata
from tests.conftest import REPOSITORY, TESTS
from tests.unit.test_store import RESULT, ask, claimed, engine, line

OLD = TESTS / "data" / "store_before_migrations"
HEAD = "0005"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    address: str = request.getfixturevalue("postgresql").schema()
    return address


@pytest.fixture
def old(empty: str) -> str:
    """The address of a store as the releases before migrations left it, with six jobs in it."""
    with closing(Database(empty)) as database, database.write() as connection:
        kind = "postgresql" if database.is_postgresql else "sqlite"
        for part in (kind, "rows"):
            for statement in OLD.with_suffix(f".{part}.sql").read_text().rstrip().removesuffix(";").split(";\n"):
                connection.exec_driver_sql(statement)
    return empty


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Store]:
    """A store in a file, for what only SQLite does."""
    store = Store(f"sqlite:///{tmp_path / 'jobs.sqlite'}", JobSettings())
    store.create()
    yield store
    store.close()


@pytest.fixture
def server(postgresql: Any) -> Iterator[Store]:
    """A store in PostgreSQL, for what only that does."""
    store = Store(postgresql.emptied(), JobSettings())
    yield store
    store.close()


def rows(url: str, of: dict[str, list[dict[str, Any]]] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Everything in the tables, as far as they are there; or only the tables and columns that an earlier look saw."""
    found: dict[str, list[dict[str, Any]]] = {}
    with closing(Database(url)) as database, database.read() as connection:
        for known in metadata.sorted_tables:
            if not inspect(connection).has_table(known.name) or (of is not None and known.name not in of):
                continue
            there = {column["name"] for column in inspect(connection).get_columns(known.name)}
            if of is not None and of[known.name]:
                there &= of[known.name][0].keys()
            query = select(*(column for column in known.c if column.name in there)).order_by(*known.primary_key)
            found[known.name] = [dict(row) for row in connection.execute(query).mappings()]
    return found


def as_it_was(connection: Connection) -> TableClause:
    """The table of jobs with the columns that it has in the database."""
    return table(
        "jobs",
        *(column(found["name"], jobs.c[found["name"]].type) for found in inspect(connection).get_columns("jobs")),
    )


def revision(url: str) -> str | None:
    with closing(Database(url)) as database, database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


# -- the schema ------------------------------------------------------------------------------------------------------


def test_a_store_from_before_migrations_is_adopted_and_loses_nothing(old: str) -> None:
    before = rows(old)
    assert {name: len(found) for name, found in before.items()} == {"jobs": 6, "logs": 5, "insights": 1, "attempts": 4}
    store = Store(old, JobSettings(), clock=lambda: 1_790_000_100.0)
    store.create()
    assert rows(old, of=before) == before
    assert revision(old) == HEAD
    assert [found.message for found in store.logs("done")] == [f"line {n}: «Բարև»" for n in (1, 2, 3)]
    done = store.job("done")
    assert done.result is not None and done.result.quality.lip_sync == 99.0
    assert {claimed(store).id, claimed(store).id} == {"half", "waiting"}  # the lease of "half" has run out
    store.renew("half", 2, Progress(percent=50.0), [line(9)], store.insights("done"))
    store.close()


def test_a_file_is_copied_before_it_is_changed(old: str, caplog: pytest.LogCaptureFixture) -> None:
    before = rows(old)
    with closing(Database(old)) as database:
        if database.is_postgresql:
            pytest.skip("a server has backups of its own")
        path = database.engine.url.database
        Path(f"{path}.before-{HEAD}.part").write_text("of a process that was killed over its copy")
        database.create()
        database.create()
    copy = f"{path}.before-{HEAD}"
    assert rows(f"sqlite:///{copy}") == before and revision(f"sqlite:///{copy}") is None
    assert [record.message for record in caplog.records if "before" in record.message] == [
        f"the job store is brought up to date; as it was before, it lies in {copy}"
    ]
    assert sorted(Path(copy).parent.glob("*.part")) == []


def test_a_new_file_has_nothing_to_be_copied(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")) as database:
        database.create()
    assert not list(tmp_path.glob("*.before-*"))


def test_the_tables_are_what_the_migrations_make(empty: str) -> None:
    database = Database(empty)
    database.create()
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_an_adopted_store_has_the_same_tables_as_a_new_one(old: str) -> None:
    database = Database(old)
    database.create()
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_a_store_of_a_newer_release_is_refused_and_left_alone(empty: str) -> None:
    database = Database(empty)
    database.create()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for _ in range(2):
        with pytest.raises(StoreTooNew, match="newer release"):
            database.create()
    assert revision(empty) == "9999"
    database.close()


def test_a_step_that_fails_leaves_everything_as_it_was(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    real = op.create_index

    def fails(name: str, *args: Any, **options: Any) -> None:
        if name == "jobs_by_turn":
            raise ConnectionError("the power went")
        real(name, *args, **options)

    before = rows(old)
    with closing(Database(old)) as database:
        with monkeypatch.context() as patched, pytest.raises(ConnectionError):
            patched.setattr(op, "create_index", fails)
            database.create()
        assert (rows(old), revision(old)) == (before, None)
        database.create()
        assert revision(old) == HEAD


def test_on_sqlite_a_table_may_be_made_anew_under_its_children(old: str) -> None:
    """What a later step may have to do there, since SQLite cannot change most things about a column."""
    database = Database(old)
    if database.is_postgresql:
        pytest.skip("PostgreSQL changes columns in place")
    before = rows(old)
    with database.migrating() as connection:
        connection.exec_driver_sql("CREATE TABLE again AS SELECT * FROM jobs")
        connection.exec_driver_sql("DROP TABLE jobs")
        connection.exec_driver_sql("ALTER TABLE again RENAME TO jobs")
    assert rows(old) == before


# -- many processes --------------------------------------------------------------------------------------------------


def _work(url: str, owner: str, start: Any, found: Any) -> None:
    store = Store(url, JobSettings())
    start.wait()
    store.create()
    store.submit(ask("shared"))
    ids = []
    while (job := store.claim(owner)) is not None:
        store.renew(job.id, job.fence, Progress(percent=1.0), [line(1)])
        store.complete(job.id, job.fence, RESULT)
        ids.append(job.id)
    store.close()
    found.put(ids)


def test_processes_that_start_at_once_on_an_old_store_claim_each_job_once(old: str) -> None:
    database = Database(old)
    with database.write() as connection:
        old_jobs = as_it_was(connection)
        waiting = dict(connection.execute(select(old_jobs).where(old_jobs.c.id == "waiting")).mappings().one())
        for number in range(40):
            asked = asdict(ask(f"job-{number}", tenant=f"t{number % 3}"))
            named = {"id": asked["job_id"], "tenant": asked["tenant"], "request": asked}
            connection.execute(old_jobs.insert().values({**waiting, **named}))
    context = multiprocessing.get_context("spawn")
    start, found = context.Event(), context.Queue()
    workers = [context.Process(target=_work, args=(old, f"driver-{n}", start, found)) for n in range(3)]
    for worker in workers:
        worker.start()
    start.set()
    claims = [found.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    # "half" is claimed as well: its lease ran out long ago
    wanted = {"shared", "waiting", "half", *(f"job-{number}" for number in range(40))}
    assert Counter(job_id for ids in claims for job_id in ids) == Counter(wanted)
    with database.read() as connection:
        runs = connection.execute(select(attempts.c.job_id).where(attempts.c.owner.startswith("driver-"))).scalars()
        assert Counter(runs) == Counter(wanted)
        states = connection.execute(select(jobs.c.state).where(jobs.c.id.in_(wanted))).scalars()
        assert set(states) == {State.COMPLETED}
    database.close()


def test_nobody_submits_while_the_store_is_still(url: str) -> None:
    store = Store(url, JobSettings())
    store.create()
    submit = threading.Thread(target=store.submit, args=(ask(),))
    with store.still():
        submit.start()
        submit.join(0.3)
        assert submit.is_alive()
        assert store.jobs() == []  # readers do not wait
    submit.join(10)
    assert [job.id for job in store.jobs()] == ["a"]
    store.close()


def test_foreign_keys_are_enforced(url: str) -> None:
    database = Database(url)
    database.create()
    row = {"job_id": "unknown", "number": 1, "timestamp": "", "level": "", "stage": "", "message": ""}
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), database.write() as connection:
        connection.execute(logs.insert().values(**row, chunk_id="", extra={}))
    database.close()


# -- SQLite alone ----------------------------------------------------------------------------------------------------


def path(store: Store) -> str:
    return engine(store).url.database or ""


def test_snapshots_cost_two_queries_and_no_walk_over_old_lines(file: Store) -> None:
    file.submit(ask())
    file.renew("a", claimed(file).fence, None, [line(n) for n in range(100)])
    asked: list[str] = []
    event.listen(engine(file), "before_cursor_execute", lambda *args: asked.append(args[2]))
    file.snapshots(["a"] * 50)
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 2
    tail = next(statement for statement in asked if "JOIN" in statement)
    with sqlite3.connect(path(file)) as database:
        plan = [row[3] for row in database.execute("EXPLAIN QUERY PLAN " + tail, [20] + ["a"] * 50)]
    assert any("logs" in step and "job_id=? AND number>?" in step for step in plan), plan


def test_a_claim_leaps_along_an_index_however_many_jobs_wait(file: Store) -> None:
    file.submit(ask())
    asked: list[tuple[str, Any]] = []
    event.listen(engine(file), "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))
    claimed(file)
    waiting = [(query, values) for query, values in asked if not query.startswith("UPDATE") and "waiting" in values]
    with sqlite3.connect(path(file)) as database:
        plans = [[row[3] for row in database.execute("EXPLAIN QUERY PLAN " + query, v)] for query, v in waiting]
    adrift, *turns = plans
    assert adrift == ["MULTI-INDEX OR", *(step for n in (1, 2, 3) for step in (f"INDEX {n}", adrift[2 * n]))]
    assert all("USING INDEX jobs_by_state (state=? AND lease_until" in step for step in adrift[2::2]), adrift
    assert len(turns) == 2
    steps = [step for plan in turns for step in plan]
    assert not any("SCAN jobs" in step or "jobs_by_state" in step for step in steps), plans
    assert sum("jobs_by_turn (state=? AND tenant" in step for step in steps) == 3, plans
    assert not any("TEMP B-TREE" in step for step in steps), plans


def test_a_full_disk_is_told_as_such(file: Store) -> None:
    file.submit(ask())
    fence = claimed(file).fence
    engine(file).dispose()
    event.listen(engine(file), "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(OutOfSpace, match="disk"):
        file.renew("a", fence, None, [replace(line(1), message="x" * 1_000_000)])
    assert file.logs("a") == []


def test_the_database_is_in_wal_mode_and_readers_do_not_wait_for_writers(file: Store) -> None:
    file.submit(ask())
    with sqlite3.connect(path(file), isolation_level=None) as writer:
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        writer.execute("BEGIN IMMEDIATE")
        read = threading.Thread(target=file.job, args=("a",))
        read.start()
        read.join(5)
        assert not read.is_alive()
        writer.execute("ROLLBACK")


def test_the_shell_command_knows_the_store(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'jobs.sqlite'}"

    def alembic(*words: str) -> str:
        run = subprocess.run(
            [sys.executable, "-m", "alembic", *words],
            cwd=REPOSITORY,
            env={**os.environ, "DATABASE_URL": address},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    alembic("upgrade", "head")
    assert revision(address) == HEAD
    assert "No new upgrade operations" in alembic("check")


# -- PostgreSQL alone ------------------------------------------------------------------------------------------------


def test_a_claim_skips_what_others_have_locked(server: Store) -> None:
    for job_id in ("a", "b", "c"):
        server.submit(ask(job_id))
    with engine(server).begin() as other:
        other.execute(select(jobs).where(jobs.c.id == "a").with_for_update())
        assert [claimed(server).id, claimed(server).id] == ["b", "c"]
        assert server.claim("driver") is None
    assert claimed(server).id == "a"


def test_a_full_disk_of_the_server_is_told_as_such(server: Store) -> None:
    with pytest.raises(OutOfSpace, match="disk"), server._database.write() as connection:
        connection.exec_driver_sql("DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$")


def test_without_the_driver_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ArtifactMissing, match=r"pip install 'dubserve\[postgres\]'"):
        open_database("postgresql://dub@127.0.0.1/dub")


def test_the_address_may_leave_the_driver_out(server: Store) -> None:
    assert engine(server).url.drivername == "postgresql+psycopg"
    assert inspect(engine(server)).has_table("alembic_version")
