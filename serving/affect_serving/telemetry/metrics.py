"""What the gateway counts and times, for Prometheus."""

import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import lru_cache
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from affect_contract.labels import LABELS
from affect_contract.outputs import SCALARS
from affect_contract.schemas import Prediction
from affect_serving.telemetry.buckets import SECONDS
from affect_serving.telemetry.version_metrics import VersionMetrics

_AFFECT: Final = (-0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Upper bounds over [-1, 1]."""


class Rejection(StrEnum):
    """Why a request got no work done for it."""

    UNAUTHORIZED = "unauthorized"
    TOO_LARGE = "too_large"
    QUEUE_FULL = "queue_full"
    TOO_LATE = "too_late"
    """Its turn would have come after its deadline."""
    BODY_BYTES = "body_bytes"
    BODY_TIMEOUT = "body_timeout"
    CONNECTIONS = "connections"
    ENDING = "ending"


class Metrics:
    """One gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "affect_requests", "Requests answered, by route, status and error code.", "route", "status", "code"
        )
        self.request_seconds = self._histogram(
            "affect_request_seconds",
            "Time from the head of a request to the last byte of its answer, by route and error code.",
            "route",
            "code",
        )
        self.in_flight = self._gauge("affect_requests_in_flight", "Pictures that are worked on.")
        self.queued = self._gauge("affect_requests_queued", "Requests let in whose work has not begun.")
        self.queue_seconds = self._histogram(
            "affect_queue_seconds", "Time from a whole body to the begin of work on it."
        )
        self.rejections = self._counter("affect_rejected", "Requests refused before any work, by reason.", "reason")
        self.body_bytes = self._gauge("affect_body_bytes", "Bytes that the bodies of HTTP requests hold.")
        self.connections = self._gauge("affect_http_connections", "HTTP connections that are open.")
        self.decode_seconds = self._histogram(
            "affect_decode_seconds", "Time from bytes to a picture, waiting for a thread included."
        )
        self.backend_seconds = self._histogram(
            "affect_backend_seconds",
            "Time the models took, queueing included, by backbone and version; without version where they failed.",
            "backbone",
            "version",
        )
        self.predictions = self._counter(
            "affect_predictions", "Pictures answered, by backbone, version and expression.",
            "backbone", "version", "expression",
        )  # fmt: skip
        self.scalars = {
            one.name: self._affect(
                f"affect_{one.name}", f"{one.name.capitalize()} of the answers, by backbone and version."
            )
            for one in SCALARS
        }
        self.ready = self._gauge("affect_ready", "1 while every backbone can answer and the gateway is not to end.")
        self.api_keys = self._gauge("affect_api_keys", "Keys that are accepted; 0 where none is needed.")
        self.api_keys_failures = self._counter(
            "affect_api_keys_reload_failures", "Times that a changed file of keys could not be used."
        )
        build = self._gauge("affect_build_info", "What runs here.", "version", "python")
        build.labels(version("affect-serving"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)
        for reason in Rejection:
            self.rejections.labels(reason)
        self.versions = VersionMetrics(self.registry)
        # Asking for a labelled child costs as much as counting in it.
        self._of_request = lru_cache(maxsize=1024)(self._find_of_request)
        self._of_backend = lru_cache(maxsize=256)(self.backend_seconds.labels)
        self._of_model = lru_cache(maxsize=256)(self._find_of_model)

    def rejected(self, reason: Rejection) -> None:
        """Count a refusal."""
        self.rejections.labels(reason).inc()

    def answered(self, route: str, status: str, code: str, seconds: float) -> None:
        """Count and time a request that is over."""
        requests, request_seconds = self._of_request(route, status, code)
        requests.inc()
        request_seconds.observe(seconds)

    @contextmanager
    def asking(self, backbone: str) -> Iterator[list[int]]:
        """Time what models take; the list is for the versions that answer."""
        started = time.perf_counter()
        versions: list[int] = []
        try:
            yield versions
        finally:
            self._of_backend(backbone, _one(versions)).observe(time.perf_counter() - started)

    def predicted(self, predictions: Sequence[Prediction]) -> None:
        """Count what was answered, so that it can be seen when pictures or answers drift."""
        for prediction in predictions:
            expressions, scalars = self._of_model(prediction.model.backbone, _one(prediction.model.versions.values()))
            if prediction.expression is not None:
                expressions[prediction.expression].inc()
            for name, histogram in scalars.items():
                value = getattr(prediction, name)
                if value is not None:
                    histogram.observe(value)

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _find_of_request(self, route: str, status: str, code: str) -> tuple[Counter, Histogram]:
        return self.requests.labels(route, status, code), self.request_seconds.labels(route, code)

    def _find_of_model(self, backbone: str, version_: str) -> tuple[dict[str, Counter], dict[str, Histogram]]:
        expressions = {label: self.predictions.labels(backbone, version_, label) for label in LABELS}
        return expressions, {name: one.labels(backbone, version_) for name, one in self.scalars.items()}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=SECONDS, registry=self.registry)

    def _affect(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ("backbone", "version"), buckets=_AFFECT, registry=self.registry)


def _one(versions: Iterable[int]) -> str:
    """The version of some models, one publish having one for all of them; empty where there is none."""
    return str(max(versions, default=""))
