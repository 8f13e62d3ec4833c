"""Markers come from the folder a test lies in; fixtures here are the few that several folders share."""

import subprocess
from pathlib import Path

import hypothesis
import imageio_ffmpeg
import pytest

# The same examples in each run, and no bound on their time: what fails here fails for whoever looks into it.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
FOLDERS = ("unit", "integration", "console", "weights", "chaos")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)


@pytest.fixture(scope="session")
def media() -> Path:
    """Folder of real recordings, laid beside the checkout; tests that need it are skipped without it."""
    folder = REPOSITORY.parent / "shared" / "media"
    if not folder.is_dir():
        pytest.skip("the folder of real recordings is not there")
    return folder


@pytest.fixture(scope="session")
def talk() -> Path:
    """The narrated demo video of the repository."""
    return TESTS / "data" / "talk.mp4"


@pytest.fixture(scope="session")
def short_talk(talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its first ten seconds, three sentences: enough for what does not depend on length."""
    path = tmp_path_factory.mktemp("short") / "talk.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(talk), "-t", "10", "-c", "copy", str(path)]
    subprocess.run(command, check=True)
    return path
