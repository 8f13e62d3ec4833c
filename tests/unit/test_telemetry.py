"""Nobody is told that the service runs: what its libraries would write and send, they do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

LOADED = (
    "import sys, models.translation.network, serve_app.machine, huggingface_hub.constants as hub; "
    "assert 'onnxruntime' in sys.modules and hub.HF_HUB_DISABLE_TELEMETRY"
)
TOLD = "import onnxruntime"


def left_behind(code: str, folder: Path) -> list[Path]:
    """What a process that runs `code` leaves in its cache folder."""
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    environment |= {"XDG_CACHE_HOME": str(folder), "HOME": str(folder)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=REPOSITORY, timeout=120)
    return [path for path in folder.rglob("*") if "onnxruntime" in path.name.lower()]


def test_the_runtime_keeps_no_identifier(tmp_path: Path) -> None:
    assert left_behind(LOADED, tmp_path) == []


def test_without_us_it_would(tmp_path: Path) -> None:
    """If this is skipped some day, the runtime has become discreet, and the test above proves nothing."""
    if not left_behind(TOLD, tmp_path):
        pytest.skip("this build of ONNX Runtime has nothing to tell")


def test_every_process_of_the_service_imports_it_first() -> None:
    code = "import serve_app.app, os; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=120)
