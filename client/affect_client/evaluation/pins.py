"""One version from the beginning of a run to its end, whatever is rolled out meanwhile."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

from PIL import Image

from affect_client.evaluation.errors import EvaluationError
from affect_client.rpc import AsyncGrpcClient
from affect_contract.errors import UnknownModel
from affect_contract.models import Backbone
from affect_contract.preprocess import SIDE
from affect_contract.schemas import ModelList, ModelStatus, Prediction
from affect_contract.store import STABLE

_NOTHING: Final = "the gateway serves no model: publish one with affect-train"


class Choice(TypedDict, total=False):
    """What of a backbone is asked for."""

    backbone: str
    version: int
    label: str


@dataclass(frozen=True)
class Pin:
    """Which version of a backbone a whole run asks."""

    backbone: Backbone
    versions: Mapping[str, int]
    """Stable version by model name, as the gateway had them when the run began."""

    @property
    def choice(self) -> Choice:
        """The query that asks for it.

        Models published apart have no version number in common; they are asked for by label, and `require` finds
        out if the label moves.
        """
        numbers = set(self.versions.values())
        if len(numbers) == 1:
            return Choice(backbone=self.backbone.value, version=numbers.pop())
        return Choice(backbone=self.backbone.value, label=STABLE)

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


def pins(served: ModelList, wanted: Sequence[Backbone] = ()) -> list[Pin]:
    """The stable versions of the backbones wanted, or of all.

    Raises:
        EvaluationError: a backbone that is not served, or has no stable version.
    """
    found = {model.backbone for model in served.models}
    missing = [backbone for backbone in wanted if backbone not in found]
    if missing:
        raise EvaluationError(f"the gateway does not serve {', '.join(missing)}; it has {', '.join(sorted(found))}")
    if not found:
        raise EvaluationError(_NOTHING)
    return [_pin(served, backbone) for backbone in (wanted or sorted(found))]


async def probed_pins(client: AsyncGrpcClient, wanted: Sequence[Backbone] = ()) -> list[Pin]:
    """`pins` over gRPC, which lists no models: what answers for a grey picture is what is served as stable.

    Raises:
        EvaluationError: a backbone that is not served.
    """
    found = []
    for backbone in wanted or Backbone:
        try:
            answer = await client.predict(_grey_picture(), backbone=backbone.value)
        except UnknownModel as exc:
            if wanted:
                raise EvaluationError(f"the gateway does not serve {backbone}: {exc.detail}") from exc
        else:
            found.append(Pin(backbone, answer.model.versions))
    if not found:
        raise EvaluationError(_NOTHING)
    return found


def _grey_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "grey").save(buffer, "PNG")
    return buffer.getvalue()


def _pin(served: ModelList, backbone: Backbone) -> Pin:
    stable = {model.name: _stable(model) for model in served.models if model.backbone is backbone}
    versions = {name: version for name, version in stable.items() if version is not None}
    if not versions:
        raise EvaluationError(f"no model of {backbone} has a stable version: promote one first")
    return Pin(backbone, versions)


def _stable(model: ModelStatus) -> int | None:
    """The version that answers as stable: where there are no labels at all, the latest."""
    unlabelled = not any(one.labels for one in model.versions)
    return max((one.version for one in model.versions if unlabelled or STABLE in one.labels), default=None)
