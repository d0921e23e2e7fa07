"""The services that every request passes through, over HTTP and gRPC alike: keys, admission, access log, tracing."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from affect_serving.core.admission import Admission, BodyBytes
from affect_serving.core.api_keys import ApiKeys
from affect_serving.core.cpus import lower_thread_priority
from affect_serving.core.drain import Drain
from affect_serving.settings import Settings
from affect_serving.telemetry.logs import AccessLog
from affect_serving.telemetry.metrics import Metrics
from affect_serving.telemetry.tracing import Tracing, create_tracing


class RequestServices(NamedTuple):
    """The services of one gateway that its HTTP and its gRPC API share."""

    keys: ApiKeys
    admission: Admission
    body_bytes: BodyBytes
    parser: ThreadPoolExecutor
    """Parses large bodies, in a single thread: parsing holds Python's lock for long, and more threads would hold up
    the event loop more often."""
    drain: Drain
    access_log: AccessLog
    tracing: Tracing


def create_request_services(settings: Settings, metrics: Metrics) -> RequestServices:
    """Create the services as the settings say.

    Raises:
        ServingError: the file of API keys cannot be used, or tracing is asked for and not installed.
    """
    return RequestServices(
        ApiKeys(settings.api_keys_file, metrics),
        Admission(settings.max_in_flight, settings.max_queued, metrics),
        BodyBytes(settings.max_body_bytes, metrics),
        ThreadPoolExecutor(1, thread_name_prefix="parse", initializer=lower_thread_priority),
        Drain(),
        AccessLog(settings.access_log_sample),
        create_tracing(settings),
    )
