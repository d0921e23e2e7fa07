"""The composition root: the one place that knows which backend stands behind the gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from affect_serving.core.backend import Backend, ServingError
from affect_serving.core.cpus import usable_cpus
from affect_serving.core.predictor import Predictor
from affect_serving.core.request_services import Entrance, create_entrance
from affect_serving.core.routing import served_backbones
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics


class Gateway(NamedTuple):
    """What both surfaces stand on."""

    settings: Settings
    predictor: Predictor
    metrics: Metrics
    entrance: Entrance


def create_backend(settings: Settings) -> Backend:
    """The backend that the settings name."""
    # Each here, so that a gateway with one of them does not need the other's runtime installed.
    if settings.models is None:
        from affect_serving.backends.tfserving.backend import TfServingBackend  # noqa: PLC0415

        return TfServingBackend(settings)
    from affect_serving.backends.embedded.backend import EmbeddedBackend  # noqa: PLC0415

    return EmbeddedBackend(
        settings.models,
        backbones=settings.backbones,
        precision=settings.embedded_precision,
        cpus=usable_cpus(),
    )


@asynccontextmanager
async def running_gateway(settings: Settings, backend: Backend) -> AsyncIterator[Gateway]:
    """The gateway with its backend started; everything is given back at the end.

    Raises:
        ServingError: the gateway cannot answer as it is set up.
    """
    metrics = Metrics()
    entrance = create_entrance(settings, metrics)
    predictor = Predictor(settings, backend, metrics, decoders=usable_cpus())
    await backend.start()
    try:
        if settings.models:
            await _check_default_backbone(settings, backend)
        async with entrance.keys.watched():
            yield Gateway(settings, predictor, metrics, entrance)
    finally:
        await backend.close()
        predictor.close()
        entrance.parser.shutdown()
        await asyncio.to_thread(entrance.tracing.close)


async def _check_default_backbone(settings: Settings, backend: Backend) -> None:
    served = served_backbones(await backend.catalog())
    if settings.default_backbone and settings.default_backbone not in served:
        raise ServingError(
            f"the default backbone {settings.default_backbone} is not served; there is {', '.join(served) or 'none'}"
        )
