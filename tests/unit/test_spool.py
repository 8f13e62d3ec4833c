"""Uploads lie on the disk of the work folder until they are read, and one that it has no room for is told so."""

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from serve_app.doors import uploads
from serve_app.doors.spool import FOLDER, spool
from tests.unit import test_access
from tests.unit.test_access import House

house = test_access.house
MIB = 1024**2
FORM = {"target_lang": "es"}


@pytest.fixture
def spooling(house: House, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", None)
    spool(house.roots.work)
    return house.roots.work / FOLDER


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file of this process grows beyond two megabytes: the kernel's answer is an error, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_an_upload_lies_in_the_work_folder_and_nothing_of_it_stays(
    house: House, spooling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay: list[Path] = []

    def copied(upload: BinaryIO, target: Path, limit: int) -> None:
        lay.append(Path(f"/proc/self/fd/{upload.fileno()}").readlink())
        copy(upload, target, limit)

    copy = uploads.copy
    monkeypatch.setattr(uploads, "copy", copied)
    async with house.http() as http:
        content = os.urandom(3 * MIB)
        answer = await http.post("/v1/jobs", data=FORM, files={"file": ("a.mp4", content)}, headers=house.key("a"))
    assert answer.status_code == 202
    assert [one.parent for one in lay] == [spooling] and list(spooling.iterdir()) == []
    [kept] = house.roots.uploads.rglob("*.mp4")
    assert kept.read_bytes() == content


@pytest.mark.usefixtures("small_disk")
async def test_an_upload_that_the_disk_has_no_room_for_is_told_so(house: House, spooling: Path) -> None:
    async with house.http() as http:
        for path in ("/v1/jobs", "/v1/audio/transcriptions"):
            files = {"file": ("a.mp4", bytes(4 * MIB))}
            answer = await http.post(path, data=FORM | {"model": "any"}, files=files, headers=house.key("a"))
            assert (answer.status_code, answer.json()["error"]["code"]) == (507, "out_of_space"), path
            assert str(spooling) not in answer.text and "full" in answer.json()["error"]["message"]
    assert list(spooling.iterdir()) == [] and list(house.roots.uploads.rglob("*.mp4")) == []
