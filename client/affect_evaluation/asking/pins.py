"""One version from the beginning of a run to its end, whatever is rolled out meanwhile."""

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
    """Which version of a backbone a whole run asks."""

    backbone: BackboneName
    versions: Mapping[str, int]
    """Version by model name, as the gateway had them when the run began."""
    label: str = STABLE
    """What they were found by."""

    @property
    def query(self) -> PinnedQuery:
        """The query that asks for it.

        Models published apart have no version number in common; they are asked for by label, and `require` finds
        out if the label moves.
        """
        numbers = set(self.versions.values())
        if len(numbers) == 1:
            return PinnedQuery(backbone=self.backbone, version=numbers.pop())
        return PinnedQuery(backbone=self.backbone, label=self.label)

    def require(self, answer: Prediction) -> None:
        """Make sure that the versions pinned have answered.

        Raises:
            EvaluationError: another one has.
        """
        for name, version in answer.model.versions.items():
            if self.versions.get(name) != version:
                began = self.versions.get(name, "none of it")
                raise EvaluationError(
                    f"{name} answered with version {version} where the run began with {began}: no result may mix "
                    "versions; start again with another --out"
                )


def pins(served: ModelList, wanted: Sequence[BackboneName] = (), label: str = STABLE) -> list[Pin]:
    """The versions that carry a label, of the backbones wanted; else of all that are served, or all that have it.

    Raises:
        EvaluationError: a backbone that is not served, or has no such version.
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


async def probed_pins(client: AsyncGrpcClient, wanted: Sequence[BackboneName] = (), label: str = STABLE) -> list[Pin]:
    """`pins` over gRPC, which lists no models: what answers for a grey picture is what carries the label.

    Raises:
        EvaluationError: a backbone that is not served, or has no such version.
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
    """The version that answers by a label: where there are no labels at all, the latest is stable."""
    latest = label == STABLE and not any(one.labels for one in model.versions)
    return max((one.version for one in model.versions if latest or label in one.labels), default=None)
