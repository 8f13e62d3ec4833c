"""A PostgreSQL of the tests' own, out of Debian's package: in a temporary folder, on a socket in it, and on no network.

The server refuses to run as root; there it runs as the user that the package made, who owns the folder.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from serve_app.jobs.database import Database, open_database
from serve_app.jobs.tables import metadata

MISSING = "PostgreSQL is not installed (Debian: apt-get install postgresql), so the store was tried on SQLite alone"
DRIVER = "psycopg is not installed (pip install -e '.[postgres]'), so the store was tried on SQLite alone"


@dataclass
class Server:
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://dub@/postgres?host={self.folder}&port={self.port}"

    @cached_property
    def engine(self) -> Engine:
        return open_database(self.url)

    def schema(self) -> str:
        """The address of an empty schema; one in the same database is made much faster than a database."""
        name = f"t{secrets.token_hex(6)}"
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"

    @cached_property
    def _tables(self) -> Database:
        database = Database(self.schema())
        database.create()
        return database

    def emptied(self) -> str:
        """The address of a schema that has its tables and no rows: the same one each time, which is faster still."""
        names = ", ".join(table.name for table in metadata.sorted_tables)
        with self._tables.write() as connection:
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
        return self._tables.engine.url.render_as_string(hide_password=False)

    def hang_up(self) -> None:
        self._tables.close()
        self.engine.dispose()


def account() -> str:
    """Who runs the server when we are root; Debian's package makes a user for it."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "" if os.geteuid() else "postgres" if "postgres" in known else "nobody"


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; Debian keeps it out of PATH."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))[-1:]
    found = shutil.which("initdb")
    return next((folder for folder in [*newest, *([Path(found).parent] if found else [])]), None)


def why_not() -> str:
    """The reason why there can be no server here; empty when there can."""
    if programs() is None:
        return MISSING
    return "" if find_spec("psycopg") else DRIVER


@contextmanager
def running() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="dub-pg-"))  # a socket's path must be short
    try:
        server = Server(folder, 1024 + secrets.randbelow(60_000))
        process = start(server)
        try:
            wait(server, process)
            yield server
        finally:
            server.hang_up()
            process.send_signal(signal.SIGINT)  # its "fast" shutdown: whoever is connected is thrown out
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def start(server: Server) -> "subprocess.Popen[bytes]":
    folder, user, here = server.folder, account(), programs()
    assert here is not None, "asked `why_not` first"
    options: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    if user:
        shutil.chown(folder, user)
        options |= {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    form = ["--auth=trust", "--username=dub", "--encoding=UTF8", "--locale=C", "--no-sync"]
    quick = ["fsync=off", "max_connections=200", "shared_buffers=32MB", "listen_addresses="]
    settings = [word for setting in quick for word in ("-c", setting)]
    with (folder / "log").open("w") as log:
        subprocess.run([here / "initdb", "-D", folder / "data", *form], check=True, stdout=log, **options)
        command = [here / "postgres", "-D", folder / "data", "-k", folder, "-p", str(server.port), *settings]
        return subprocess.Popen(command, stdout=log, **options)


def wait(server: Server, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            server.engine.connect().close()
            return
        except OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((server.folder / "log").read_text()) from None
            time.sleep(0.05)
