"""What an operator sees of the service: `logs` (an event is a line of JSON), `traces` (spans), `metrics` (figures).

Each process that works for the service calls `begin` once. What is told is told of the work at hand (`about`): its job,
tenant, attempt and stage, in a context that tasks and threads of that work inherit.
"""

from configs.app import AppSettings, Roots
from models import batches
from serve_app.telemetry import logs, metrics, traces


def begin(part: str, settings: AppSettings, roots: Roots) -> None:
    """`part` is the deployment that lives in this process, such as `driver`. A later call changes little."""
    logs.begin(part, settings.telemetry, roots)
    metrics.begin(roots)
    traces.begin(part, settings.telemetry)
    batches.listen(_batch, traces.mark)


def _batch(batch: batches.Batch) -> None:
    metrics.observe("dubserve_batch_seconds", batch.ended - batch.began, shelf=batch.shelf)
    metrics.observe("dubserve_batch_size", batch.size, shelf=batch.shelf)
    metrics.observe("dubserve_batch_fill", batch.fill, shelf=batch.shelf)
    traces.batch(batch)
