"""Callers may name files inside the shared roots, and nothing else by any spelling."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from configs.app import Roots
from models.errors import PathNotAllowed
from serve_app.paths import inside, not_of_others


@pytest.mark.parametrize(
    "name", ["talk.mp4", "it's a talk.mp4", "你好 视频.mp4", "-v.mp4", "sub/../talk.mp4", "%2e%2e"]
)
def test_names_inside_a_root_work(tmp_path: Path, name: str) -> None:
    assert inside(f"{tmp_path}/{name}", [Path("/elsewhere"), tmp_path]).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "talk.mp4",
        "/etc/passwd",
        "{root}/../secret",
        "{root}/a\0b",
        "{root}/a\ud800b",
        "{root}-twin/talk.mp4",
        "{root}/" + "x" * 4096,
    ],
)
def test_every_other_path_is_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "uploads"
    root.mkdir()
    with pytest.raises(PathNotAllowed) as caught:
        inside(path.format(root=root), [root])
    assert str(tmp_path) not in str(caught.value)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "uploads"
    root.mkdir()
    (root / "link.mp4").symlink_to("/etc/passwd")
    (root / "loop.mp4").symlink_to(root / "loop.mp4")
    for name in ("link.mp4", "loop.mp4"):
        with pytest.raises(PathNotAllowed):
            inside(str(root / name), [root])


def test_the_results_of_others_are_refused_by_their_names(tmp_path: Path) -> None:
    roots = Roots(uploads=tmp_path / "u", artifacts=tmp_path / "a", work=tmp_path / "w", database_url=SecretStr(""))
    owners = {"mine": "me", "theirs": "they"}
    for path, tenant in (("a/mine_translated.mp4", "me"), ("a/nobodys_translated.mp4", "me"), ("u/theirs.mp4", "me")):
        not_of_others(tmp_path / path, tenant, roots, lambda _: owners)
    with pytest.raises(PathNotAllowed):
        not_of_others(tmp_path / "a" / "theirs_translated.mp4", "me", roots, lambda _: owners)
