"""The metrics page: Prometheus's text format, version 0.0.4, of what the node and the server count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from aimem.net.hub import Counters, OnDone
from aimem.net.message import Request
from aimem.node.metrics import Counter, Gauge, Histogram, Metric, Sample, Watched

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


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
    value = int(sample.value) if float(sample.value).is_integer() else repr(float(sample.value)).replace("inf", "+Inf")
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
        _ByCode("aimem_http_bad_requests_total", "Requests whose bytes were at fault.", counters.bad_requests_total),
        Watched(
            "aimem_tls_handshakes_refused_total",
            "Handshakes refused: the certificate is not listed, or there was none.",
            lambda: counters.handshakes_refused_total,
        ),
        Watched(
            "aimem_tls_handshakes_failed_total",
            "Handshakes that broke off, were too slow, or were none.",
            lambda: counters.handshakes_failed_total,
        ),
        Watched("aimem_http_received_bytes_total", "Bytes received.", lambda: counters.received_bytes_total),
        Watched("aimem_http_sent_bytes_total", "Bytes sent.", lambda: counters.sent_bytes_total),
    )


class _ByCode(Watched):
    """A count per error code that something else keeps."""

    def __init__(self, name: str, help: str, counts: Mapping[str, int]) -> None:
        super().__init__(name, help, lambda: None)
        self._counts = counts

    def samples(self) -> Iterator[Sample]:
        """A line per code."""
        return (Sample("", (("code", code),), count) for code, count in sorted(self._counts.items()))


class Traffic:
    """What is counted of each request when it is over."""

    def __init__(self) -> None:
        self._replies = Counter("aimem_http_replies_total", "Requests by status; 499: its caller left.", ("status",))
        self._seconds = Histogram("aimem_http_request_seconds", "From a request's head to its end.", _SECONDS)
        self.metrics: Sequence[Metric] = (self._replies, self._seconds)

    def counting(self, then: OnDone) -> OnDone:
        """A callback that counts, and then calls another."""

        def done(request: Request, status: int, sent_bytes: int, seconds: float) -> None:
            self._replies.inc(status=str(status))
            self._seconds.observe(seconds)
            then(request, status, sent_bytes, seconds)

        return done
