"""Tenants and keys in the database, and the operator's commands over them."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, select
from typer.testing import CliRunner, Result

from configs.app import JobSettings
from models.errors import NotAllowed
from serve_app.__main__ import app
from serve_app.jobs.database import Database
from serve_app.jobs.job import Control, Progress, Quality, Request
from serve_app.jobs.job import Result as Made
from serve_app.jobs.store import Store
from serve_app.jobs.tables import keys
from serve_app.jobs.tenants import Tenant, Tenants, UnfitTenant
from serve_app.spending import Spending

NOW = [1_700_000_000.0]


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    NOW[0] = 1_700_000_000.0
    store = Store(url, JobSettings(), lambda: NOW[0])
    store.create()
    yield store
    store.close()


@pytest.fixture
def tenants(store: Store) -> Tenants:
    return Tenants(store.database, lambda: NOW[0])


def test_tenants_are_added_changed_listed_and_removed(tenants: Tenants) -> None:
    tenants.add(Tenant("b", weight=2.5, running=3))
    tenants.add(Tenant("a"))
    assert tenants.change("b", queued=7, running=None) == Tenant("b", 2.5, None, 7, created_at=NOW[0])
    assert tenants.all() == [Tenant("a", created_at=NOW[0]), Tenant("b", 2.5, None, 7, created_at=NOW[0])]
    tenants.issue("b")
    tenants.remove("b")
    assert [tenant.name for tenant in tenants.all()] == ["a"] and tenants.keys() == []


def test_what_no_tenant_can_be(tenants: Tenants) -> None:
    tenants.add(Tenant("a"))
    for name in ("", "A", "../x", "a/b", ".a", "a" * 64, "a\n"):
        with pytest.raises(UnfitTenant, match="name a tenant"):
            tenants.add(Tenant(name))
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UnfitTenant, match="weight"):
            tenants.change("a", weight=weight)
    with pytest.raises(UnfitTenant, match="queued"):
        tenants.change("a", queued=-1)
    with pytest.raises(UnfitTenant, match="there already"):
        tenants.add(Tenant("a"))
    for unknown in (lambda: tenants.change("b", queued=1), lambda: tenants.remove("b"), lambda: tenants.issue("b")):
        with pytest.raises(UnfitTenant, match="no tenant"):
            unknown()


def test_a_tenant_with_live_jobs_stays(tenants: Tenants, store: Store) -> None:
    tenants.add(Tenant("a"))
    store.submit(Request("1", "/x.mp4", "en", "es", tenant="a"))
    with pytest.raises(UnfitTenant, match="jobs that wait or run"):
        tenants.remove("a")
    store.control("1", Control.CANCEL)
    tenants.remove("a")


def test_a_key_is_known_by_its_hash_alone(tenants: Tenants, store: Store) -> None:
    tenants.add(Tenant("a"))
    key = tenants.issue("a", "laptop")
    assert key.startswith("dub_") and tenants.owner(key) == "a"
    with store.database.read() as connection:
        [row] = connection.execute(select(keys)).mappings()
    secret = key.split("_", 2)[2]
    assert len(secret) == 43 and not any(secret in str(value) for value in row.values())
    [shown] = tenants.keys("a")
    assert (shown.label, shown.used_at, shown.revoked_at) == ("laptop", NOW[0], None)


def test_a_key_opens_also_where_nothing_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As on a full disk: whoever comes to make room must get in."""
    with closing(Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")) as database:
        database.create()
        tenants = Tenants(database)
        key = tenants.issue(tenants.add(Tenant("a")).name)
        database.engine.dispose()
        event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = 1"))
        assert tenants.owner(key) == "a" and "could not be written down" in caplog.text
        assert tenants.keys()[0].used_at is None


def test_wrong_and_revoked_keys(tenants: Tenants) -> None:
    tenants.add(Tenant("a"))
    key, other = tenants.issue("a"), tenants.issue("a")
    swapped = "_".join((*key.split("_", 2)[:2], other.split("_", 2)[2]))
    for wrong in ("", "dub", "dub__", key[:-1], f"{key}x", swapped, "dub_\0_x", key.upper(), "\ud800"):
        with pytest.raises(NotAllowed) as caught:
            tenants.owner(wrong)
        assert caught.value.code == "unauthenticated"
    key_id = key.split("_")[1]
    for _ in range(2):
        tenants.revoke(key_id)
    with pytest.raises(NotAllowed):
        tenants.owner(key)
    assert tenants.owner(other) == "a"
    with pytest.raises(UnfitTenant, match="no key"):
        tenants.revoke("nothing")


def test_when_a_key_was_used_is_written_once_a_minute(tenants: Tenants) -> None:
    tenants.add(Tenant("a"))
    key = tenants.issue("a")
    for later, seen in ((0, 0), (59, 0), (2, 61)):
        NOW[0] += later
        tenants.owner(key)
        assert tenants.keys()[0].used_at == 1_700_000_000.0 + seen


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_an_operator_lets_somebody_in_and_out_again(home: Path) -> None:
    added = run("tenants", "add", "a", "--weight", "2", "--queued", "5", "--video-minutes-a-day", "1.5").stdout
    assert "dubserve keys issue a" in added
    run("tenants", "set", "a", "--queued", "none", "--running", "3")
    [tenant] = json.loads(run("tenants", "list", "--json").stdout)
    assert {**tenant, "created_at": 0} == {
        "name": "a", "weight": 2.0, "running": 3, "queued": None, "stored_bytes": None, "video_minutes_a_day": 1.5,
        "created_at": 0,
    }  # fmt: skip
    key = run("keys", "issue", "a", "--label", "x").stdout.strip()
    assert json.loads(run("keys", "issue", "a", "--json").stdout)["key"] != key
    store = Store(f"sqlite:///{home}/TEMP_WORK_DIR/.jobs.sqlite", JobSettings())
    assert Tenants(store.database).owner(key) == "a"
    listed = json.loads(run("keys", "list", "--tenant", "a", "--json").stdout)
    assert [one["label"] for one in listed] == ["x", ""] and key not in json.dumps(listed)
    assert "no limit" in run("tenants", "list").stdout and "laptop" not in run("keys", "list").stdout
    assert "is revoked" in run("keys", "revoke", key.split("_")[1]).stdout
    with pytest.raises(NotAllowed):
        Tenants(store.database).owner(key)
    store.close()
    assert json.loads(run("tenants", "remove", "a", "--json").stdout) == {"removed": "a"}
    assert "no tenants yet" in run("tenants", "list").stdout and "no keys yet" in run("keys", "list").stdout
    assert json.loads(run("tenants", "add", "b", "--json").stdout)["weight"] == 1.0
    assert json.loads(run("tenants", "set", "b", "--weight", "3", "--json").stdout)["weight"] == 3.0
    other = run("keys", "issue", "b").stdout.split("_")[1]
    assert json.loads(run("keys", "revoke", other, "--json").stdout) == {"revoked": other}


def test_commands_that_are_refused(home: Path) -> None:
    assert "no tenant" in run("keys", "issue", "nobody", code=2).output
    assert "is a number" in run("tenants", "add", "a", "--queued", "many", code=2).output
    assert "weight" in run("tenants", "add", "a", "--weight", "0", code=2).output


def test_usage_of_all_tenants(home: Path) -> None:
    run("tenants", "list")
    store = Store(f"sqlite:///{home}/TEMP_WORK_DIR/.jobs.sqlite", JobSettings())
    for job_id, tenant in (("1", "a"), ("2", "b"), ("3", "b")):
        store.submit(Request(job_id, "/x.mp4", "en", "es", tenant=tenant))
        job = store.claim("driver")
        assert job is not None
        made = Made("/nowhere/o.mp4", "", "", "", 60.0, 1, 1, 1.0, Quality())
        store.complete(job.id, job.fence, made, Progress(duration_s=60.0), spent=Spending(50.0, 100, 90, 1.5))
    store.close()
    a, b = json.loads(run("usage", "--json").stdout)
    assert (a["tenant"], a["jobs"], a["video_s"], a["cpu_s"]) == ("a", 1, 60.0, 1.5)
    assert (b["jobs"], b["characters_translated"], b["audio_s"]) == (2, 200, 100.0)
    table = run("usage", "--csv", "--tenant", "b").stdout.splitlines()
    assert table[0].startswith("job_id,tenant,at,video_s") and len(table) == 3
    assert json.loads(run("usage", "--json", "--until", "2020-01-01").stdout) == []
    run("usage", "--since", "yesterday", code=2)
