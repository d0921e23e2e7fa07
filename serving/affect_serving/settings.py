"""Every setting of the gateway, read once from flags and ``AFFECT_`` environment variables, then handed down.

The text under each setting is its help in ``affect-serve --help`` and its row in docs/operations.md.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from affect_contract.arguments import MAX_PORT
from affect_contract.backbones import BackboneName
from affect_contract.preprocess import HARD_MAX_PIXELS, MAX_IMAGE_BYTES, MAX_PIXELS

_HOST_AND_PORT: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})", re.ASCII)
_ORIGIN: Final = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?", re.ASCII)
_TLS_FILES: Final = ("tfserving_ca", "tfserving_cert", "tfserving_key", "tfserving_server_name")


@dataclass(frozen=True)
class Metavar:
    """The word that stands for a setting's value in ``--help``, where the type does not say it."""

    word: str


Port = Annotated[int, Field(ge=0, le=MAX_PORT), Metavar("PORT")]
Count = Annotated[int, Field(ge=1), Metavar("N")]
Seconds = Annotated[float, Field(ge=0), Metavar("SECONDS")]
OptionalFile = Annotated[Path | None, Metavar("FILE")]


class EmbeddedPrecision(StrEnum):
    """Arithmetic of the embedded runtime."""

    F32 = "f32"
    BF16 = "bf16"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a line of the log looks."""

    TEXT = "text"
    JSON = "json"


class Settings(BaseSettings):
    """Settings of ``affect-serve``; a flag wins over the environment."""

    model_config = SettingsConfigDict(
        env_prefix="AFFECT_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    models: Annotated[Path | None, Metavar("DIR")] = None
    """Models directory to serve from this process. Give either this or tfserving."""
    tfserving: Annotated[str | None, Metavar("HOST:PORT")] = None
    """gRPC address of a TensorFlow Serving that runs the models instead of this process, such as tfserving:8500."""
    tfserving_tls: bool = False
    """Whether to connect to TensorFlow Serving over TLS."""
    tfserving_ca: OptionalFile = None
    """PEM file of the authorities to trust for TensorFlow Serving's certificate. Without it, the public ones that gRPC
    knows."""
    tfserving_cert: OptionalFile = None
    """PEM file of the client certificate to present to TensorFlow Serving, if it asks for one."""
    tfserving_key: OptionalFile = None
    """PEM file of the private key of that client certificate."""
    tfserving_server_name: Annotated[str | None, Metavar("NAME")] = None
    """Host name to expect in TensorFlow Serving's certificate. Without it, the one that the gateway connects to."""

    host: Annotated[str, Metavar("ADDRESS")] = "127.0.0.1"
    """Address to listen on. 127.0.0.1 accepts connections from this machine only, 0.0.0.0 from any, as a container has
    to."""
    http_port: Port = 8080
    """Port of the HTTP API. 0 takes any free port."""
    grpc_port: Port = 9090
    """Port of the gRPC API. 0 takes any free port."""

    backbones: Annotated[tuple[BackboneName, ...], NoDecode, Metavar("A,B")] = ()
    """Backbones to serve, separated by commas. Without it, every backbone that there is a model of."""
    default_backbone: Annotated[BackboneName | None, Metavar("NAME")] = None
    """Backbone that answers requests that name none. Without it, the first of those served."""

    max_image_bytes: Annotated[int, Field(ge=1), Metavar("BYTES")] = MAX_IMAGE_BYTES
    """Largest encoded picture that is accepted, in bytes."""
    max_pixels: Annotated[int, Field(ge=1, le=HARD_MAX_PIXELS), Metavar("N")] = MAX_PIXELS
    """Most pixels, width times height, of a picture that is accepted. Decoding takes 3 bytes of memory for each."""
    max_batch_images: Count = 32
    """Most pictures in one batch request. TensorFlow Serving's max_batch_size must not be smaller."""
    deadline_ms: Annotated[int, Field(ge=1), Metavar("MILLISECONDS")] = 10_000
    """Time that a request may take, in milliseconds, if it sets no deadline of its own."""

    max_in_flight: Count = 32
    """Most pictures that are worked on at the same time, over HTTP and gRPC together. Further requests wait."""
    max_queued: Annotated[int, Field(ge=0), Metavar("N")] = 16
    """Most requests that may wait. Further ones are refused at once as overloaded. A longer queue refuses fewer
    requests of a burst, and answers them later."""
    max_body_bytes: Annotated[int, Field(ge=1), Metavar("BYTES")] = 512 * 2**20
    """Most memory that the bodies of all HTTP requests may take together, in bytes. Further requests are refused."""
    max_connections: Count = 1_000
    """Most HTTP connections open at the same time. Further ones can only ask for the gateway's state: /livez, /readyz,
    /metrics."""
    body_timeout_s: Annotated[float, Field(gt=0), Metavar("SECONDS")] = 10.0
    """Time in which the head of a request must arrive, and then again its body, in seconds."""

    drain_delay_s: Seconds = 5.0
    """Time after SIGTERM, in seconds, in which the gateway still serves but reports that it is not ready, so that load
    balancers turn to others."""
    drain_grace_s: Seconds = 20.0
    """Time after that delay, in seconds, in which requests that have begun may finish."""

    api_keys_file: OptionalFile = None
    """File of the API keys that are accepted, one NAME:SHA256 per line, written by affect-serve new-key; changes to it
    apply without a restart. Without it, callers need no key."""
    tls_cert: OptionalFile = None
    """PEM file of the gateway's certificate, followed by any intermediate ones. With it, both ports speak TLS only."""
    tls_key: OptionalFile = None
    """PEM file of the private key of that certificate."""
    cors_origins: Annotated[tuple[str, ...], NoDecode, Metavar("A,B")] = ()
    """Origins, such as https://example.org, whose pages may call the API from a browser, separated by commas, or * for
    any. Without it, no page of another origin may."""

    canary_percent: Annotated[float, Field(ge=0, le=100), Metavar("PERCENT")] = 0.0
    """Percentage, from 0 to 100, of the requests without a version or label that the canary answers, for backbones that
    have one."""

    embedded_precision: EmbeddedPrecision = EmbeddedPrecision.F32
    """Arithmetic of models that run in this process. bf16 is faster on processors that have it, and changes answers."""

    log_level: LogLevel = LogLevel.INFO
    """Least severe messages that are logged."""
    log_format: LogFormat = LogFormat.TEXT
    """Format of the log: lines of text, or one JSON document per line."""
    access_log_sample: Annotated[float, Field(ge=0, le=1), Metavar("FRACTION")] = 0.0
    """Fraction of the requests that are logged, from 0 to 1. Failures of the service itself are always logged."""
    otlp_endpoint: Annotated[str | None, Metavar("URL")] = None
    """URL of an OpenTelemetry collector that takes OTLP over HTTP, such as http://collector:4318. Without it, no traces
    are sent."""

    @field_validator("tfserving")
    @classmethod
    def _is_host_and_port(cls, value: str | None) -> str | None:
        if value is not None and not ((match := _HOST_AND_PORT.fullmatch(value)) and 0 < int(match[2]) <= MAX_PORT):
            raise ValueError(f"{value!r} is not HOST:PORT: give one like tfserving:8500")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError(f"{value!r} is no URL: give one like http://collector:4318")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: give one like https://example.org, without a path, or *")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.models is None) == (self.tfserving is None):
            raise ValueError(
                "give --models DIR (or AFFECT_MODELS), or --tfserving HOST:PORT (or AFFECT_TFSERVING), and not both"
            )
        for cert, key in (("tfserving_cert", "tfserving_key"), ("tls_cert", "tls_key")):
            if (getattr(self, cert) is None) != (getattr(self, key) is None):
                raise ValueError(f"give {cert} and {key} together: one is of no use without the other")
        unused = [name for name in _TLS_FILES if getattr(self, name) is not None]
        if unused and not self.tfserving_tls:
            raise ValueError(f"{unused[0]} has no effect without TLS: set tfserving_tls to true")
        return self

    @field_validator("backbones", "cors_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        """Names separated by commas, as flags and the environment have them."""
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value
