"""The metrics, as the tables from which they are made."""

from docs.describing.markdown import code, page, table


def metrics() -> str:
    from serve_app.telemetry.metrics import KINDS
    from serve_app.telemetry.scrape import ROWS

    intro = """
`GET /metrics` tells Prometheus all of these, whichever Ingress answers and however many processes work. It is the
operator's: where keys are required, the key of a tenant that `ingress: {operators: […]}` names.
"""
    rows = [
        (code(name), kind.__name__.lower(), ", ".join(map(code, labels)), meaning)
        for name, (kind, meaning, labels, _) in KINDS.items()
    ]
    rows += [(code(name), "gauge", ", ".join(map(code, labels)), meaning) for name, (meaning, labels) in ROWS.items()]
    return page("Metrics", intro, table(("name", "kind", "labels", ""), sorted(rows)))
