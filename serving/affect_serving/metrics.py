"""What the gateway counts and times, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "affect_requests",
            "Requests answered, by route, status and error code.",
            ("route", "status", "code"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "affect_request_seconds",
            "Time from the first byte of a request to the last of its answer, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("affect_requests_in_flight", "Requests under way.", registry=self.registry)
        self.decode_seconds = Histogram(
            "affect_decode_seconds",
            "Time from bytes to a picture, waiting for a thread included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.backend_seconds = Histogram(
            "affect_backend_seconds",
            "Time the models took, queueing included, by backbone.",
            ("backbone",),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
