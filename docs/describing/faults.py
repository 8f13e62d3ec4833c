"""The errors: the tree as `models.errors` draws it, and the table of codes as the doors send them."""

import re
from collections.abc import Iterable
from textwrap import dedent

from docs.describing.markdown import code, page, table
from models import errors

DRAWING = dedent((errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0])


def errors_page() -> str:
    from serve_app.doors.http import REFUSALS
    from serve_app.doors.wire import fault

    intro = f"""
Every error this service raises on purpose, sorted by whose fault it is. Over HTTP it is
`{{"error": {{"code", "message"}}}}`, over gRPC the status with the message as its details. A message is one sentence
that says what to do. `code` is stable.

```
{DRAWING}
```
"""
    rows = [(one, fault(one)) for one in examples()]
    listed = table(
        ("code", "error", "HTTP", "gRPC", ""),
        [(code(f.code), type(e).__name__, int(f.http), f.grpc.name, summary(e)) for e, f in rows],
    )
    framework = table(
        ("code", "HTTP", "message"), [(code(name), status, text) for status, (name, text) in REFUSALS.items()]
    )
    more = (
        "## What is refused before it is looked at\n\n`invalid_request` (422) names fields that do not fit.\n\n"
        + framework
    )
    return page("Errors", intro, "## Codes\n\n" + listed, more)


OTHERWISE = (errors.InvalidJob, errors.NotAllowed, errors.StageFailed)
"""Kinds that `examples` makes in another way."""


def examples() -> Iterable[errors.DubError]:
    """One error of each kind that the tree has; NotAllowed once for each of its codes."""
    for kind in (errors.InvalidJob, *errors.InvalidJob.__subclasses__()):
        if kind.__module__ == errors.__name__:
            yield kind("")
    for name in ("unauthenticated", "permission_denied", "resource_exhausted"):
        yield errors.NotAllowed("", name)
    for kind in errors.DubError.__subclasses__():
        if kind.__module__ == errors.__name__ and kind not in (
            errors.InvalidJob,
            errors.NotAllowed,
            errors.StageFailed,
        ):
            yield kind("")
    yield errors.StageFailed("tts", "")
    yield errors.BelowQuality("")


PLAIN = {
    "invalid_job": "what was asked cannot be done; the message says why",
    "unauthenticated": "no key where one is wanted, or a wrong one",
    "permission_denied": "the key is right, and this is not its tenant's to do",
    "resource_exhausted": "a limit of the tenant or of the service is reached; `retry-after` says when to come back",
    "job_not_found": "no job with this id, or not one of this tenant's; or it has no such file",
    "wrong_state": "the job is not in a state that allows it",
    "out_of_space": "a disk of the service is full",
}
"""What the drawing has no room for."""


def summary(error: errors.DubError) -> str:
    """What the drawing of the tree says of an error, behind its codes."""
    drawn = next((line for line in DRAWING.splitlines() if re.search(rf"── {type(error).__name__}\b", line)), "")
    return PLAIN.get(error.code) or re.split(r"\s{2,}", drawn.strip())[-1]
