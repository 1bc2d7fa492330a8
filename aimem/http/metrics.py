"""The metrics page: Prometheus's text format, version 0.0.4, of what the node and the server count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aimem.net.hub import Counters
from aimem.node.metrics import Gauge, Metric, Sample, Watched

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(metrics: Iterable[Metric]) -> str:
    """The page."""
    lines: list[str] = []
    for metric in metrics:
        samples = list(metric.samples())
        if samples:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
            lines += [_line(metric.name, sample) for sample in samples]
    return "\n".join(lines) + "\n"


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sample.labels)
    value = int(sample.value) if float(sample.value).is_integer() else repr(float(sample.value))
    return f"{name}{sample.suffix}{'{' + labels + '}' if labels else ''} {value}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def server_metrics(counters: Counters) -> Sequence[Metric]:
    """What the server's connections count."""
    return (
        Gauge("aimem_http_connections", "Open connections.", lambda: counters.connections),
        Gauge("aimem_http_requests_in_flight", "Requests being answered.", lambda: counters.requests_in_flight),
        Watched("aimem_http_connections_total", "Connections accepted.", lambda: counters.connections_total),
        Watched("aimem_http_requests_total", "Requests read.", lambda: counters.requests_total),
        Watched(
            "aimem_http_refused_total", "Requests and connections refused at a bound.", lambda: counters.refused_total
        ),
        Watched("aimem_http_abandoned_total", "Requests whose caller left.", lambda: counters.abandoned_total),
        Watched(
            "aimem_http_bad_requests_total",
            "Requests whose bytes were at fault.",
            lambda: sum(counters.bad_requests_total.values()),
        ),
        Watched("aimem_http_received_bytes_total", "Bytes received.", lambda: counters.received_bytes_total),
    )
