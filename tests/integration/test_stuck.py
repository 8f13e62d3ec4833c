"""A replica whose engine is stuck is replaced, and nobody who asks the service for something hears of it."""

import time
from pathlib import Path

from tests.chaos.__main__ import ARGS, Listener
from tests.chaos.application import Application
from tests.chaos.films import film

STALL_S = 20.0
"""A job would give its engine up after this long; a replica is ill after half of it."""


def test_a_replica_that_is_stuck_is_replaced_and_no_job_hears_of_it(tmp_path: Path) -> None:
    engines = {**ARGS["engines"], "translation": {"engine": "tests.chaos.engines:StuckTranslator"}}
    args = {**ARGS, "engines": engines, "pipeline": {**ARGS["pipeline"], "engine_stall_s": STALL_S}}
    two = {"num_replicas": 2, "health_check_period_s": 1, "health_check_timeout_s": 30}
    marked = tmp_path / "stuck.pid"
    service = Application(tmp_path / "service", args, {"CHAOS_STUCK": str(marked)}, {"Translator": two})
    with service.gone_afterwards():
        service.start()
        before = translators(service)
        films = [film(tmp_path / f"film-{number}.mp4", number, 8) for number in range(2)]
        listeners = [Listener(service, path.stem, service.take(path)) for path in films]
        for listener in listeners:
            listener.start()
        for listener in listeners:
            listener.join(120)
        assert [(listener.is_alive(), listener.error) for listener in listeners] == [(False, "")] * 2
        stuck = int(marked.read_text())
        assert stuck in before
        deadline = time.monotonic() + 60
        while len(now := translators(service)) != 2 or stuck in now:
            assert time.monotonic() < deadline, (stuck, before, now)
            time.sleep(0.2)
        assert len(now - before) == 1


def translators(service: Application) -> set[int]:
    return {process.pid for process in service.of_role("Translator")}
