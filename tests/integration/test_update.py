"""A config that cannot be deployed is told about, and what runs goes on."""

import threading
from pathlib import Path

import pytest

from serve_app.deployments.cluster import update


@pytest.mark.parametrize("content", ["applications: [", "applications: 1", None])
def test_a_config_that_cannot_be_read_changes_nothing(tmp_path: Path, content: str | None) -> None:
    config, said = tmp_path / "serve_config.yaml", list[str]()
    if content is not None:
        config.write_text(content)
    update(config, threading.Event(), said.append)
    assert said[0] == "the config is read again" and "mend it and send the signal again" in said[1]
    assert len(said) == 2
