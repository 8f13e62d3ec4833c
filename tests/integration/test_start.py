"""A service that cannot start says what to do, and one that is told to stop before it is ready ends at once."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray
import yaml

from models.errors import StageFailed
from serve_app.deployments.cluster import start_ray
from tests.service import REPOSITORY, free_port


def test_ray_that_does_not_start_in_time_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", late)
    with pytest.raises(StageFailed, match="try again when this machine is less busy"):
        start_ray(verbose=False)


def test_a_stop_while_ray_starts_is_clean(tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    config["grpc_options"]["port"], config["http_options"]["port"] = free_port(), free_port()
    path = tmp_path / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    roots = {name: str(tmp_path) for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR")}
    command = [sys.executable, "-m", "serve_app", "serve", "--config", str(path)]
    with subprocess.Popen(command, env=os.environ | roots, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        assert next(service.stdout) == "starting Ray on this machine\n"
        processes = psutil.Process(service.pid)
        while not (begun := processes.children(recursive=True)):
            assert service.poll() is None
        service.terminate()
        said, code = service.stdout.read(), service.wait(60)
    assert (code, said.splitlines()[-1]) == (0, "shutting down")
    assert not psutil.wait_procs(begun, timeout=10)[1]
