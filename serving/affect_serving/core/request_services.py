"""What every request passes, whatever its surface."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from affect_serving.core.admission import Admission, BodyBytes
from affect_serving.core.api_keys import ApiKeys
from affect_serving.core.cpus import give_way
from affect_serving.core.drain import Drain
from affect_serving.settings import Settings
from affect_serving.telemetry.logs import AccessLog
from affect_serving.telemetry.metrics import Metrics
from affect_serving.telemetry.tracing import Tracing, create_tracing


class Entrance(NamedTuple):
    """One gateway's."""

    keys: ApiKeys
    admission: Admission
    body_bytes: BodyBytes
    parser: ThreadPoolExecutor
    """Parses large bodies. One thread, since parsing keeps Python's lock for long, and others wait for it to live."""
    drain: Drain
    access_log: AccessLog
    tracing: Tracing


def create_entrance(settings: Settings, metrics: Metrics) -> Entrance:
    """As the settings say.

    Raises:
        ServingError: the keys cannot be read, or what they name is not installed.
    """
    return Entrance(
        ApiKeys(settings.api_keys_file, metrics),
        Admission(settings.max_in_flight, settings.max_queued, metrics),
        BodyBytes(settings.max_body_bytes, metrics),
        ThreadPoolExecutor(1, thread_name_prefix="parse", initializer=give_way),
        Drain(),
        AccessLog(settings.access_log_sample),
        create_tracing(settings),
    )
