"""The real application, started as a user would, and its processes, each to be killed by its id."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from models.errors import StageFailed
from serve_app.demo import wait_until_ready
from serve_app.grpc_client import GrpcClient
from tests.service import REPOSITORY, free_port

Deployments = dict[str, dict[str, Any]]

ROLES = {
    "Driver": "ServeReplica:dubserve:Driver",
    "Recognizer": "ServeReplica:dubserve:Recognizer",
    "Translator": "ServeReplica:dubserve:Translator",
    "Ingress": "ServeReplica:dubserve:Ingress",
    "proxy": "ProxyActor",
    "controller": "ServeController",
    "ffmpeg": "ffmpeg",
    "raylet": "raylet/raylet",
    "gcs": "gcs_server",
}
"""A part of the command line by which a process is known."""

PARTS = ("Driver", "Recognizer", "Translator", "Ingress", "proxy", "ffmpeg")
"""What the service survives without being started again."""


UPDATED = "\nupdated"
UPDATE_S = 180.0
TOLD = 4000
"""Characters of its log, the last ones, where it does not start."""


class Application:
    """Roots and config in `folder`; `start` it, `kill` parts or all of it, and `start` it again.

    `deployments` changes the numbers of some of them.
    """

    def __init__(
        self, folder: Path, args: dict[str, Any], environment: dict[str, str], deployments: Deployments | None = None
    ) -> None:
        self.roots = {name: folder / name.lower() for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR")}
        for root in self.roots.values():
            root.mkdir(parents=True)
        self._log = folder / "service.log"
        self._config = folder / "serve_config.yaml"
        self._grpc, self._http = free_port(), free_port()
        self._config.write_text(yaml.safe_dump(_config(args, deployments or {}, self._grpc, self._http)))
        self.journal = folder / "journal.jsonl"
        paths = {name: str(root) for name, root in {**self.roots, "CHAOS_JOURNAL": self.journal}.items()}
        self._environment = {**os.environ, **environment, **paths, "PYTHONPATH": str(REPOSITORY)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self._http}"

    @property
    def grpc_url(self) -> str:
        return f"127.0.0.1:{self._grpc}"

    def client(self) -> GrpcClient:
        return GrpcClient(self.grpc_url)

    def take(self, path: Path) -> Path:
        """A film where the service may read it."""
        return Path(shutil.copy(path, self.roots["UPLOADS_DIR"]))

    def start(self) -> float:
        """Starts it and waits until it is ready; returns the seconds that took."""
        began = time.monotonic()
        command = [sys.executable, "-m", "serve_app", "serve", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                start_new_session=True,
            )
        try:
            wait_until_ready(self._process, f"{self.http_url}/readyz")
        except StageFailed as error:
            raise RuntimeError(self._log.read_text()[-TOLD:]) from error
        return time.monotonic() - began

    def update(self) -> float:
        """Changes the config and has it read again; returns the seconds until all parts are new ones."""
        began = time.monotonic()
        assert self._process is not None
        config = yaml.safe_load(self._config.read_text())
        jobs = config["applications"][0]["args"].setdefault("jobs", {})
        jobs["max_queued"] = jobs.get("max_queued", 10_000) + 1
        self._config.write_text(yaml.safe_dump(config))
        before = self._log.read_text().count(UPDATED)
        self._process.send_signal(signal.SIGHUP)
        while self._log.read_text().count(UPDATED) == before:
            if "not updated" in self._log.read_text() or time.monotonic() > began + UPDATE_S or not self.running:
                raise RuntimeError(self._log.read_text())
            time.sleep(0.2)
        return time.monotonic() - began

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """Every process that it has started, itself first."""
        if not self.running:
            return []
        assert self._process is not None
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def of_role(self, role: str) -> list[psutil.Process]:
        return [process for process in self.processes() if ROLES[role] in command_line(process)]

    def kill_all(self) -> None:
        """All at the same moment, as far as one process can: stopped first, so that none sees the others die."""
        processes = self.processes()
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for process in processes:
                send(process, sign)
        psutil.wait_procs(processes, timeout=10)
        if self._process is not None:
            self._process.poll()  # else it would be taken for one that nobody has waited for

    def stop(self, seconds: float) -> int:
        """Asks it to stop, as whoever supervises it would; its exit code. Raises TimeoutExpired."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def ended_within(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @contextmanager
    def gone_afterwards(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.kill_all()


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def send(process: psutil.Process, sign: signal.Signals) -> bool:
    try:
        process.send_signal(sign)
    except psutil.NoSuchProcess:
        return False
    return True


def _config(args: dict[str, Any], deployments: Deployments, grpc_port: int, http_port: int) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    config["grpc_options"]["port"], config["http_options"]["port"] = grpc_port, http_port
    [application] = config["applications"]
    application["args"] = args
    for deployment in application["deployments"]:
        asked = deployments.get(deployment["name"], {})
        if "num_replicas" in asked:
            deployment.pop("autoscaling_config", None)
        deployment.update(asked)
    return config
