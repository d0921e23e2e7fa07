"""Every setting of the gateway, read once from flags and ``AFFECT_`` environment variables, then handed down."""

import re
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

Port = Annotated[int, Field(ge=0, le=MAX_PORT)]


class Precision(StrEnum):
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

    models: Path | None = None
    """The models directory to serve in this process; either this or tfserving."""
    tfserving: str | None = None
    """HOST:PORT of the gRPC port of TensorFlow Serving, which then runs the models."""
    tfserving_tls: bool = False
    """Whether TensorFlow Serving is spoken to over TLS."""
    tfserving_ca: Path | None = None
    """PEM file of the authorities that may vouch for TensorFlow Serving; the system's own, if not set."""
    tfserving_cert: Path | None = None
    """PEM file of the certificate that TensorFlow Serving wants of its clients."""
    tfserving_key: Path | None = None
    """PEM file of that certificate's key."""
    tfserving_server_name: str | None = None
    """The name in TensorFlow Serving's certificate, where it is not its host name."""

    host: str = "127.0.0.1"
    """Address to listen on; containers set 0.0.0.0."""
    http_port: Port = 8080
    """Port of the HTTP API; 0 takes any free one."""
    grpc_port: Port = 9090
    """Port of the gRPC API; 0 takes any free one."""

    backbones: Annotated[tuple[BackboneName, ...], NoDecode] = ()
    """Backbones to load, separated by commas; all that are served, if none is named."""
    default_backbone: BackboneName | None = None
    """What a request that names no backbone gets; the first one served, if not set."""

    max_image_bytes: Annotated[int, Field(ge=1)] = MAX_IMAGE_BYTES
    """The most bytes of one encoded picture."""
    max_pixels: Annotated[int, Field(ge=1, le=HARD_MAX_PIXELS)] = MAX_PIXELS
    """The most pixels of one picture."""
    max_batch_images: Annotated[int, Field(ge=1)] = 32
    """The most pictures of one batch request."""
    deadline_ms: Annotated[int, Field(ge=1)] = 10_000
    """Time that a request may take that does not say, in milliseconds."""

    max_in_flight: Annotated[int, Field(ge=1)] = 32
    """Pictures that are worked on at a time, over HTTP and gRPC together."""
    max_queued: Annotated[int, Field(ge=0)] = 16
    """Requests that may wait for that; further ones are refused at once."""
    max_body_bytes: Annotated[int, Field(ge=1)] = 512 * 2**20
    """The most bytes that the bodies of all HTTP requests together hold in memory."""
    max_connections: Annotated[int, Field(ge=1)] = 1_000
    """HTTP connections at a time; further ones get nothing but the state of the gateway."""
    body_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Time that the head of a request may take to come, and then its body, in seconds."""

    drain_delay_s: Annotated[float, Field(ge=0)] = 5.0
    """After SIGTERM: how long the gateway serves on while it says that it is not ready, in seconds."""
    drain_grace_s: Annotated[float, Field(ge=0)] = 20.0
    """After that: how long what is under way may take to finish, in seconds."""

    api_keys_file: Path | None = None
    """File of the keys that callers need, NAME:SHA256 a line; read again when it changes. Without it nobody does."""
    tls_cert: Path | None = None
    """PEM file of the gateway's certificate, with those that vouch for it; both ports then speak TLS alone."""
    tls_key: Path | None = None
    """PEM file of that certificate's key."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may ask from a browser, separated by commas, or *; none, if none is named."""

    canary_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Share of the requests without a version or label that go to the canary, where a backbone has one, in percent."""

    embedded_precision: Precision = Precision.F32
    """Arithmetic of the embedded runtime; bf16 is faster where the processor has it, and moves the answers."""

    log_level: LogLevel = LogLevel.INFO
    """The least serious messages that are logged."""
    log_format: LogFormat = LogFormat.TEXT
    """Lines of text, or one JSON document a line."""
    access_log_sample: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of requests that are logged, from 0 to 1; those that fail by a fault of the service always are."""
    otlp_endpoint: str | None = None
    """URL of an OpenTelemetry collector's OTLP over HTTP, like http://collector:4318; traces are sent there."""

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
