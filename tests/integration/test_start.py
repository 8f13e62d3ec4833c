"""A service that cannot start says what to do."""

import pytest
import ray

from models.errors import StageFailed
from serve_app.deployments.cluster import start_ray


def test_ray_that_does_not_start_in_time_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", late)
    with pytest.raises(StageFailed, match="try again when this machine is less busy"):
        start_ray(verbose=False)
