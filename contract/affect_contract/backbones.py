"""Every backbone, in one table: what each is, wherever only its name is known.

Training adds to each row how the network is built and scaled (`affect_training.networks.backbones`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field


@dataclass(frozen=True)
class Backbone:
    """What is known of a convolutional base without building it."""

    display_name: str
    """How plots and reports call it."""
    is_pretrained: bool
    """Whether it starts from ImageNet weights; else it is trained from scratch."""
    shares_base: bool
    """Whether both tasks may stand on one base, which a fused model then runs once."""
    colour: str
    """Of its curves and bars, as ``#rrggbb``, from Okabe and Ito's palette, whose colours all eyes tell apart."""
    marker: str
    """Of its points, by matplotlib's letter."""


BACKBONES: Final[dict[str, Backbone]] = {
    "mobilenet_v2": Backbone("MobileNetV2", is_pretrained=True, shares_base=True, colour="#0072B2", marker="o"),
    "densenet121": Backbone("DenseNet121", is_pretrained=True, shares_base=True, colour="#D55E00", marker="s"),
    "custom_cnn": Backbone("custom CNN", is_pretrained=False, shares_base=False, colour="#009E73", marker="^"),
}
"""By name, in the order in which they are listed, asked and drawn."""

STUDY_BACKBONES: Final = ("mobilenet_v2", "densenet121")
"""Those that the study compared, which are trained unless others are named."""


def pretrained_backbones() -> list[str]:
    """The backbones that ImageNet weights exist for, in the order of the table."""
    return [name for name, backbone in BACKBONES.items() if backbone.is_pretrained]


def require_backbone(name: str) -> str:
    """Give the name back.

    Raises:
        ValueError: no backbone has it.
    """
    if name not in BACKBONES:
        raise ValueError(f"{name!r} is no backbone: choose from {', '.join(BACKBONES)}")
    return name


def _list_names(schema: dict[str, Any]) -> None:
    schema["enum"] = list(BACKBONES)


BackboneName = Annotated[str, AfterValidator(require_backbone), Field(json_schema_extra=_list_names)]
"""A key of `BACKBONES`; pydantic refuses any other."""


def in_order(names: Iterable[str]) -> list[BackboneName]:
    """These names, each once, in the order of the table."""
    wanted = set(names)
    return [name for name in BACKBONES if name in wanted]
