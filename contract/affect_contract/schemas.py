"""The bodies of the HTTP API, as pydantic models; clients read answers with the same ones."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from affect_contract.backbones import BackboneName
from affect_contract.errors import ErrorCode
from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS
from affect_contract.outputs import Task

Affect = Annotated[float, Field(ge=AFFECT_MIN, le=AFFECT_MAX)]


class _Body(BaseModel):
    """Immutable, and documented by the docstrings of its fields."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class EncodedPicture(_Body):
    """A picture inside JSON."""

    image: str
    """The bytes of a JPEG, PNG or WebP file, in base64."""


class AnsweringModel(_Body):
    """What produced an answer."""

    backbone: BackboneName
    versions: dict[str, int]
    """Version that answered, by model name."""


class Prediction(_Body):
    """Expression, valence and arousal of one picture; a task that is not served leaves its fields null."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "expression": "happy",
                    "expression_id": 1,
                    "confidence": 0.83,
                    "probabilities": dict(zip(LABELS, (0.04, 0.83, 0.01, 0.05, 0.01, 0.01, 0.02, 0.03), strict=True)),
                    "valence": 0.61,
                    "arousal": 0.22,
                    "model": {"backbone": "mobilenet_v2", "versions": {"mobilenet_v2_affect": 1}},
                    "request_id": "5f0c6f1e9d0b4d0c8a3c1c9d6f3b2a10",
                }
            ]
        }
    )

    expression: str | None
    """The most probable expression."""
    expression_id: Annotated[int, Field(ge=0, lt=len(LABELS))] | None
    """Its AffectNet id."""
    confidence: float | None
    """Its probability."""
    probabilities: dict[str, float] | None
    """All eight probabilities by label, unrounded; they sum to 1."""
    valence: Affect | None
    """From -1, displeased, to 1, pleased."""
    arousal: Affect | None
    """From -1, calm, to 1, excited."""
    model: AnsweringModel
    request_id: str


class Failure(_Body):
    """Why one picture of a batch has no answer."""

    code: ErrorCode
    detail: str


class FailedPicture(_Body):
    """The place of a failed picture in a batch."""

    error: Failure


class BatchPrediction(_Body):
    """One result a picture, in the order they were sent."""

    results: list[Prediction | FailedPicture]


class VersionStatus(_Body):
    """One version of a model and whether it can answer."""

    version: int
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END, as TensorFlow Serving names them."""
    labels: list[str]
    problem: str | None = None
    """Why it is never asked, although it is there."""


class ModelStatus(_Body):
    """One served model."""

    name: str
    backbone: BackboneName
    tasks: list[Task]
    versions: list[VersionStatus]


class ModelList(_Body):
    """Everything that is served."""

    default_backbone: BackboneName
    models: list[ModelStatus]
    problem: str | None = None
    """What of the models directory cannot be followed, while what was served before is served on."""


class Readiness(_Body):
    """Whether every configured backbone can answer."""

    waiting_for: list[str]
    """The names of those that cannot."""
    reasons: dict[str, str] = {}
    """Why each cannot."""


class Problem(_Body):
    """RFC 9457 problem details with the contract's code."""

    type: str = "about:blank"
    title: str
    status: int
    code: ErrorCode
    detail: str
    request_id: str
