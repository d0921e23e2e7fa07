"""What Prometheus is told of versions: which there are, which carry a label, and how each label answers."""

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
    """Series by model, version and label; those of what is not served any more end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._available = Gauge(
            "affect_model_version_available",
            "Whether a version can answer: 1, or 0 while it is being loaded or has failed.",
            ("model", "version"),
            registry=registry,
        )
        self._failed = Gauge(
            "affect_model_version_failed",
            "Whether a version is there and never asked, because it does not load or is not what the contract says.",
            ("model", "version"),
            registry=registry,
        )
        self._labelled = Gauge(
            "affect_model_label_version", "The version that carries a label.", ("model", "label"), registry=registry
        )
        self._troubled = Gauge(
            "affect_models_trouble",
            "Whether something of the models directory cannot be followed; GET /models says what.",
            registry=registry,
        )
        self._answers = Counter(
            "affect_label_answers",
            "Calls of a backbone's models by the label that was asked, its own requests and its share alike; no label "
            "where a version was asked for.",
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
        # Asking for a labelled child costs as much as counting in it.
        self._answers_of = lru_cache(maxsize=256)(self._answers.labels)
        self._seconds_of = lru_cache(maxsize=256)(self._seconds.labels)
        self._noted: Catalog | None = None

    def note(self, catalog: Catalog, trouble: str) -> None:
        """Take in what is served now."""
        self._troubled.set(bool(trouble))
        if catalog is self._noted:
            return
        self._noted = catalog
        for gauge in (self._available, self._failed, self._labelled):
            gauge.clear()
        for model, versions in catalog.items():
            for one in versions:
                self._available.labels(model.name, one.number).set(one.state == AVAILABLE and not one.problem)
                self._failed.labels(model.name, one.number).set(bool(one.problem))
                for label in one.labels:
                    self._labelled.labels(model.name, label).set(one.number)

    @contextmanager
    def answering(self, backbone: str, selector: Selector) -> Iterator[None]:
        """Count and time one call of the models that a selector was routed to."""
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
            self._answers_of(backbone, label, code).inc()
            self._seconds_of(backbone, label).observe(time.perf_counter() - started)
