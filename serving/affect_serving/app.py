"""The gateway's composition root: the only module that knows every backend."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from affect_serving.core.backend import Backend, ServingError
from affect_serving.core.cpus import usable_cpus
from affect_serving.core.predictor import Predictor
from affect_serving.core.request_services import RequestServices, create_request_services
from affect_serving.core.routing import served_backbones
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics


class Gateway(NamedTuple):
    """The parts of a running gateway that its HTTP and its gRPC API share."""

    settings: Settings
    predictor: Predictor
    metrics: Metrics
    services: RequestServices


def create_backend(settings: Settings) -> Backend:
    """Create the backend that the settings name."""
    # Imported here, so that a gateway with one backend does not need the other's runtime installed.
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
    """Run the gateway's backend and services for as long as the context is open.

    Raises:
        ServingError: the gateway cannot answer as it is set up.
    """
    metrics = Metrics()
    services = create_request_services(settings, metrics)
    predictor = Predictor(settings, backend, metrics, decoders=usable_cpus())
    await backend.start()
    try:
        if settings.models:
            await _check_default_backbone(settings, backend)
        async with services.keys.watched():
            yield Gateway(settings, predictor, metrics, services)
    finally:
        await backend.close()
        predictor.close()
        services.parser.shutdown()
        await asyncio.to_thread(services.tracing.close)


async def _check_default_backbone(settings: Settings, backend: Backend) -> None:
    served = served_backbones(await backend.catalog())
    if settings.default_backbone and settings.default_backbone not in served:
        raise ServingError(
            f"the default backbone {settings.default_backbone} is not served; there is {', '.join(served) or 'none'}"
        )
