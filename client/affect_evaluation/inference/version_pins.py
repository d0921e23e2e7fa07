"""Pin the versions that a run scores, whatever is rolled out while it runs."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

from PIL import Image

from affect_client.rpc.client import AsyncGrpcClient
from affect_contract.backbones import BACKBONES, BackboneName
from affect_contract.errors import UnknownModel
from affect_contract.preprocess import SIDE
from affect_contract.schemas import ModelList, ModelStatus, Prediction
from affect_contract.versions import STABLE
from affect_evaluation.errors import EvaluationError

_NOTHING: Final = "the gateway serves no model: publish one with affect-train"


class PinnedQuery(TypedDict, total=False):
    """The query parameters by which a pinned version is asked."""

    backbone: str
    version: int
    label: str


@dataclass(frozen=True)
class Pin:
    """The version of a backbone that a run scores from beginning to end."""

    backbone: BackboneName
    versions: Mapping[str, int]
    """Version by model name, as served when the run began."""
    label: str = STABLE
    """Label by which the versions were found."""

    @property
    def query(self) -> PinnedQuery:
        """Query parameters that select the version.

        Models published apart have different version numbers; they are selected by label, and `require` detects if
        the label moves.
        """
        numbers = set(self.versions.values())
        if len(numbers) == 1:
            return PinnedQuery(backbone=self.backbone, version=numbers.pop())
        return PinnedQuery(backbone=self.backbone, label=self.label)

    def require(self, answer: Prediction) -> None:
        """Check that the pinned versions have answered.

        Raises:
            EvaluationError: another version has answered.
        """
        for name, version in answer.model.versions.items():
            if self.versions.get(name) != version:
                began = self.versions.get(name, "none of it")
                raise EvaluationError(
                    f"{name} answered with version {version} where the run began with {began}: no result may mix "
                    "versions; start again with another --out"
                )


def pin_versions(served: ModelList, wanted: Sequence[BackboneName] = (), label: str = STABLE) -> list[Pin]:
    """Pin the versions that carry a label, by the gateway's list of models.

    Args:
        served: the gateway's list of models.
        wanted: the backbones to score; if empty, all that are served, or all that have the label if it is not stable.
        label: the label.

    Raises:
        EvaluationError: a backbone is not served, or has no version with the label.
    """
    found = {model.backbone for model in served.models}
    missing = [backbone for backbone in wanted if backbone not in found]
    if missing:
        raise EvaluationError(f"the gateway does not serve {', '.join(missing)}; it has {', '.join(sorted(found))}")
    if not found:
        raise EvaluationError(_NOTHING)
    if label != STABLE and not wanted:
        found = {model.backbone for model in served.models if any(label in one.labels for one in model.versions)}
        if not found:
            raise EvaluationError(f"no model has the label {label!r}: see GET /models for those there are")
    return [_pin(served, backbone, label) for backbone in (wanted or sorted(found))]


async def probe_versions(
    client: AsyncGrpcClient, wanted: Sequence[BackboneName] = (), label: str = STABLE
) -> list[Pin]:
    """Pin the versions that answer for a grey picture, since the gRPC API does not list models.

    Raises:
        EvaluationError: a backbone is not served, or has no version with the label.
    """
    found = []
    for backbone in wanted or BACKBONES:
        try:
            answer = await client.predict(_grey_picture(), backbone=backbone, label=label)
        except UnknownModel as exc:
            if wanted:
                raise EvaluationError(f"the gateway does not serve {backbone}: {exc.detail}") from exc
        else:
            found.append(Pin(backbone, answer.model.versions, label))
    if not found:
        raise EvaluationError(_NOTHING if label == STABLE else f"no model has the label {label!r}")
    return found


def _grey_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "grey").save(buffer, "PNG")
    return buffer.getvalue()


def _pin(served: ModelList, backbone: BackboneName, label: str) -> Pin:
    labelled = {model.name: _labelled(model, label) for model in served.models if model.backbone == backbone}
    versions = {name: version for name, version in labelled.items() if version is not None}
    if not versions:
        way = "promote" if label == STABLE else "publish"
        raise EvaluationError(f"no model of {backbone} has a {label} version: {way} one first")
    return Pin(backbone, versions, label)


def _labelled(model: ModelStatus, label: str) -> int | None:
    """Return the version that a label selects; without any labels, the latest version is stable."""
    latest = label == STABLE and not any(one.labels for one in model.versions)
    return max((one.version for one in model.versions if latest or label in one.labels), default=None)
