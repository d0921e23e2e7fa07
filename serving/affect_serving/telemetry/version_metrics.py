"""Prometheus metrics of model versions: which there are, which carry a label, and how each label answers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from affect_contract.errors import AffectError
from affect_contract.versions import AVAILABLE, STABLE
from affect_serving.core.backend import Catalog, Selector
from affect_serving.telemetry.buckets import SECONDS


class VersionMetrics:
    """Metrics by model, version and label; series of versions that are no longer served are removed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._available = Gauge(
            "affect_model_version_available",
            "Whether a version can answer: 1, or 0 while it is being loaded or has failed.",
            ("model", "version"),
            registry=registry,
        )
        self._failed = Gauge(
            "affect_model_version_failed",
            "Whether a version is present but gets no requests, because it does not load or does not fit the contract.",
            ("model", "version"),
            registry=registry,
        )
        self._labelled = Gauge(
            "affect_model_label_version", "The version that carries a label.", ("model", "label"), registry=registry
        )
        self._has_problem = Gauge(
            "affect_models_trouble",
            "Whether a part of the models directory cannot be followed; GET /models says why.",
            registry=registry,
        )
        self._answers = Counter(
            "affect_label_answers",
            "Calls of a backbone's models by label, counting requests for the label and its share of all others; the "
            "label is empty where a version was asked for.",
            ("backbone", "label", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "affect_label_seconds",
            "Time the models took, queueing included, by backbone and label.",
            ("backbone", "label"),
            buckets=SECONDS,
            registry=registry,
        )
        # Looking up a labelled child costs as much as counting in it, so the children are cached.
        self._answers_child = lru_cache(maxsize=256)(self._answers.labels)
        self._seconds_child = lru_cache(maxsize=256)(self._seconds.labels)
        self._last_catalog: Catalog | None = None

    def update(self, catalog: Catalog, problem: str) -> None:
        """Set the gauges to the versions that are served now, and to the backend's ``problem``, empty if none."""
        self._has_problem.set(bool(problem))
        if catalog is self._last_catalog:
            return
        self._last_catalog = catalog
        for gauge in (self._available, self._failed, self._labelled):
            gauge.clear()
        for model, versions in catalog.items():
            for one in versions:
                self._available.labels(model.name, one.number).set(one.state == AVAILABLE and not one.problem)
                self._failed.labels(model.name, one.number).set(bool(one.problem))
                for label in one.labels:
                    self._labelled.labels(model.name, label).set(one.number)

    @contextmanager
    def observe_call(self, backbone: str, selector: Selector) -> Iterator[None]:
        """Count and time one call of a backbone's models, under the label that it was routed by."""
        label = "" if selector.version is not None else selector.label or STABLE
        started = time.perf_counter()
        code = "cancelled"
        try:
            yield
        except AffectError as exc:
            code = exc.code.value
            raise
        else:
            code = ""
        finally:
            self._answers_child(backbone, label, code).inc()
            self._seconds_child(backbone, label).observe(time.perf_counter() - started)
