"""The gateway's Prometheus metrics: what it counts and times."""

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

_SCORES: Final = (-0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Buckets for scalar outputs such as valence, over [-1, 1]."""


class Rejection(StrEnum):
    """The reasons for which requests are refused before any work; the values of the metric's label ``reason``."""

    UNAUTHORIZED = "unauthorized"
    TOO_LARGE = "too_large"
    QUEUE_FULL = "queue_full"
    TOO_LATE = "too_late"
    """The deadline would have passed before the request's turn."""
    BODY_BYTES = "body_bytes"
    BODY_TIMEOUT = "body_timeout"
    CONNECTIONS = "connections"
    ENDING = "ending"


class Metrics:
    """The metrics of one gateway, in a registry of their own."""

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
        self.queued = self._gauge("affect_requests_queued", "Requests admitted whose work has not begun.")
        self.queue_seconds = self._histogram(
            "affect_queue_seconds", "Time from a complete body to the start of work on it."
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
            one.name: self._score_histogram(
                f"affect_{one.name}", f"{one.name.capitalize()} of the answers, by backbone and version."
            )
            for one in SCALARS
        }
        self.ready = self._gauge(
            "affect_ready", "1 while every backbone can answer and the gateway is not shutting down."
        )
        self.api_keys = self._gauge("affect_api_keys", "Keys that are accepted; 0 where none is needed.")
        self.api_keys_failures = self._counter(
            "affect_api_keys_reload_failures", "Times that a changed file of keys could not be used."
        )
        build = self._gauge("affect_build_info", "Versions of the gateway and of Python.", "version", "python")
        build.labels(version("affect-serving"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)
        for reason in Rejection:
            self.rejections.labels(reason)
        self.versions = VersionMetrics(self.registry)
        # Looking up a labelled child costs as much as counting in it, so the children are cached.
        self._request_children = lru_cache(maxsize=1024)(self._find_request_children)
        self._backend_child = lru_cache(maxsize=256)(self.backend_seconds.labels)
        self._answer_children = lru_cache(maxsize=256)(self._find_answer_children)

    def rejected(self, reason: Rejection) -> None:
        """Count a request that is refused before any work."""
        self.rejections.labels(reason).inc()

    def answered(self, route: str, status: str, code: str, seconds: float) -> None:
        """Count and time a request that is over."""
        requests, request_seconds = self._request_children(route, status, code)
        requests.inc()
        request_seconds.observe(seconds)

    @contextmanager
    def time_models(self, backbone: str) -> Iterator[list[int]]:
        """Time a call of a backbone's models; the caller adds the versions that answered to the list."""
        started = time.perf_counter()
        versions: list[int] = []
        try:
            yield versions
        finally:
            self._backend_child(backbone, _single_version(versions)).observe(time.perf_counter() - started)

    def predicted(self, predictions: Sequence[Prediction]) -> None:
        """Count predictions by expression and score, so that a drift of pictures or answers shows."""
        for prediction in predictions:
            version_ = _single_version(prediction.model.versions.values())
            expressions, scalars = self._answer_children(prediction.model.backbone, version_)
            if prediction.expression is not None:
                expressions[prediction.expression].inc()
            for name, histogram in scalars.items():
                value = getattr(prediction, name)
                if value is not None:
                    histogram.observe(value)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _find_request_children(self, route: str, status: str, code: str) -> tuple[Counter, Histogram]:
        return self.requests.labels(route, status, code), self.request_seconds.labels(route, code)

    def _find_answer_children(self, backbone: str, version_: str) -> tuple[dict[str, Counter], dict[str, Histogram]]:
        expressions = {label: self.predictions.labels(backbone, version_, label) for label in LABELS}
        return expressions, {name: one.labels(backbone, version_) for name, one in self.scalars.items()}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=SECONDS, registry=self.registry)

    def _score_histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ("backbone", "version"), buckets=_SCORES, registry=self.registry)


def _single_version(versions: Iterable[int]) -> str:
    """Return the version of models that answer together, normally the same for all; empty where there is none."""
    return str(max(versions, default=""))
