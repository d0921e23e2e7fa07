"""The bodies of the HTTP API as pydantic models, which the gateway writes and the clients read."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from affect_contract.backbones import BackboneName
from affect_contract.errors import ErrorCode
from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS
from affect_contract.outputs import Task

Affect = Annotated[float, Field(ge=AFFECT_MIN, le=AFFECT_MAX)]


class _Body(BaseModel):
    """The base of all bodies: immutable, and documented by the docstrings of the fields."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class EncodedPicture(_Body):
    """A picture that is sent as JSON."""

    image: str
    """The bytes of a JPEG, PNG or WebP file, in base64."""


class AnsweringModel(_Body):
    """The backbone, and the versions of its models, that produced an answer."""

    backbone: BackboneName
    versions: dict[str, int]
    """The version that answered, by model name."""


class Prediction(_Body):
    """The expression, valence and arousal in one picture; the fields of a task that is not served are null."""

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
    """The label of the most probable expression."""
    expression_id: Annotated[int, Field(ge=0, lt=len(LABELS))] | None
    """AffectNet's id of the most probable expression."""
    confidence: float | None
    """The probability of the most probable expression."""
    probabilities: dict[str, float] | None
    """The probabilities of all eight expressions by label, unrounded; they sum to 1."""
    valence: Affect | None
    """How pleased the face looks, from -1, displeased, to 1, pleased."""
    arousal: Affect | None
    """How excited the face looks, from -1, calm, to 1, excited."""
    model: AnsweringModel
    request_id: str


class Failure(_Body):
    """The reason why one picture of a batch has no answer."""

    code: ErrorCode
    detail: str


class FailedPicture(_Body):
    """The result of a picture in a batch that could not be answered."""

    error: Failure


class BatchPrediction(_Body):
    """One result per picture, in the order in which they were sent."""

    results: list[Prediction | FailedPicture]


class VersionStatus(_Body):
    """One version of a model and whether it can answer."""

    version: int
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END, as TensorFlow Serving names them."""
    labels: list[str]
    problem: str | None = None
    """Why this version is never asked, although it exists; null where nothing is wrong."""


class ModelStatus(_Body):
    """A served model and its versions."""

    name: str
    backbone: BackboneName
    tasks: list[Task]
    versions: list[VersionStatus]


class ModelList(_Body):
    """All models that are served."""

    default_backbone: BackboneName
    models: list[ModelStatus]
    problem: str | None = None
    """Why a change of the models directory cannot be followed; the versions served before it are still served."""


class Readiness(_Body):
    """Whether every configured backbone can answer."""

    waiting_for: list[str]
    """The names of the backbones that cannot answer yet."""
    reasons: dict[str, str] = {}
    """Why each of them cannot answer yet, by name."""


class Problem(_Body):
    """An error as problem details (RFC 9457), with its code in the contract."""

    type: str = "about:blank"
    title: str
    status: int
    code: ErrorCode
    detail: str
    request_id: str
