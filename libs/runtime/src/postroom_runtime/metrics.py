"""Prometheus metrics, all named `postroom_<area>_<what>_{total,seconds,bytes}`; labels carry no addresses."""

import re
from collections.abc import Sequence
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")

# From below a commit to beyond every deadline between services.
SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """A counter `postroom_<name>`; the name is `<area>_<what>_total`. Make each one once, at module level."""
    return Counter(_full_name(name, "_total"), documentation, labels)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge `postroom_<name>`."""
    return Gauge(_full_name(name, ""), documentation, labels)


def histogram(
    name: str, documentation: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = SECONDS_BUCKETS
) -> Histogram:
    """A histogram `postroom_<name>`; the name is `<area>_<what>_seconds` or `_bytes`."""
    return Histogram(_full_name(name, ("_seconds", "_bytes")), documentation, labels, buckets=buckets)


def exposition() -> bytes:
    """All metrics of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)


def _full_name(name: str, ending: str | tuple[str, ...]) -> str:
    if _NAME.fullmatch(name) is None or not name.endswith(ending):
        raise ValueError(f"not a metric name: {name}")
    return f"postroom_{name}"
