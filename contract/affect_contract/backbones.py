"""The table of the backbones, for every part that knows a backbone only by its name.

Training adds to each row how the network is built and its input scaled (`affect_training.networks.backbones`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field


@dataclass(frozen=True)
class Backbone:
    """The facts about a convolutional base that are known without building it."""

    display_name: str
    """Its name in plots and reports."""
    is_pretrained: bool
    """Whether ImageNet weights exist for it; otherwise it is trained from scratch."""
    shares_base: bool
    """Whether the heads of both tasks may share one base, which a fused model then runs only once."""
    colour: str
    """The colour of its curves and bars, ``#rrggbb``, from Okabe and Ito's palette for colour-blind readers."""
    marker: str
    """The marker of its points, by matplotlib's letter."""


BACKBONES: Final[dict[str, Backbone]] = {
    "mobilenet_v2": Backbone("MobileNetV2", is_pretrained=True, shares_base=True, colour="#0072B2", marker="o"),
    "densenet121": Backbone("DenseNet121", is_pretrained=True, shares_base=True, colour="#D55E00", marker="s"),
    "custom_cnn": Backbone("custom CNN", is_pretrained=False, shares_base=False, colour="#009E73", marker="^"),
}
"""The backbones by name, in the order in which they are listed, asked and drawn."""

STUDY_BACKBONES: Final = ("mobilenet_v2", "densenet121")
"""The backbones that the study compared; they are trained unless others are named."""


def pretrained_backbones() -> list[str]:
    """Return the names of the backbones for which ImageNet weights exist, in the order of the table."""
    return [name for name, backbone in BACKBONES.items() if backbone.is_pretrained]


def require_backbone(name: str) -> str:
    """Return ``name`` if it is that of a backbone.

    Raises:
        ValueError: it is not.
    """
    if name not in BACKBONES:
        raise ValueError(f"{name!r} is no backbone: choose from {', '.join(BACKBONES)}")
    return name


def _list_names(schema: dict[str, Any]) -> None:
    schema["enum"] = list(BACKBONES)


BackboneName = Annotated[str, AfterValidator(require_backbone), Field(json_schema_extra=_list_names)]
"""A key of `BACKBONES`; pydantic refuses any other."""


def in_order(names: Iterable[str]) -> list[BackboneName]:
    """Return the names, each once, in the order of the table."""
    wanted = set(names)
    return [name for name in BACKBONES if name in wanted]
