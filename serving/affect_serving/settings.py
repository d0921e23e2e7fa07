"""Every setting of the gateway, read once from flags and ``AFFECT_`` environment variables, then handed down."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from affect_contract.models import Backbone
from affect_contract.preprocess import HARD_MAX_PIXELS, MAX_IMAGE_BYTES, MAX_PIXELS

Port = Annotated[int, Field(ge=0, le=65535)]


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


class Settings(BaseSettings):
    """Settings of ``affect-serve``; a flag wins over the environment."""

    model_config = SettingsConfigDict(
        env_prefix="AFFECT_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    models: Path
    """The models directory to serve."""

    host: str = "127.0.0.1"
    """Address to listen on; containers set 0.0.0.0."""
    http_port: Port = 8080
    """Port of the HTTP API; 0 takes any free one."""

    backbones: Annotated[tuple[Backbone, ...], NoDecode] = ()
    """Backbones to load, separated by commas; all that the models directory serves, if none is named."""
    default_backbone: Backbone | None = None
    """What a request that names no backbone gets; the first one served, if not set."""

    max_image_bytes: Annotated[int, Field(ge=1)] = MAX_IMAGE_BYTES
    """The most bytes of one encoded picture."""
    max_pixels: Annotated[int, Field(ge=1, le=HARD_MAX_PIXELS)] = MAX_PIXELS
    """The most pixels of one picture."""
    max_batch_images: Annotated[int, Field(ge=1)] = 32
    """The most pictures of one batch request."""
    deadline_ms: Annotated[int, Field(ge=1)] = 10_000
    """Time that a request may take that does not say, in milliseconds."""

    embedded_precision: Precision = Precision.F32
    """Arithmetic of the embedded runtime; bf16 is faster where the processor has it, and moves the answers."""

    log_level: LogLevel = LogLevel.INFO
    """The least serious messages that are logged."""

    @field_validator("backbones", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        """Names separated by commas, as flags and the environment have them."""
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value
