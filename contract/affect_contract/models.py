"""The servable models: a backbone with the head of one task, or with the heads of both."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from affect_contract.backbones import BACKBONES
from affect_contract.outputs import Output, Task, outputs_of

_FUSED_SUFFIX: Final = "affect"


class ServedModel(NamedTuple):
    """A model that can be served."""

    backbone: str
    """The name of its backbone, a key of `BACKBONES`."""
    tasks: tuple[Task, ...]

    @property
    def name(self) -> str:
        """The model's name, for example ``densenet121_regression`` or ``mobilenet_v2_affect``."""
        return f"{self.backbone}_{_FUSED_SUFFIX if self.is_fused else self.tasks[0]}"

    @property
    def is_fused(self) -> bool:
        """Whether one pass of the network answers both tasks."""
        return len(self.tasks) > 1

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs of its serving signature, in order."""
        return tuple(output for task in self.tasks for output in outputs_of(task))


def single(backbone: str, task: Task) -> ServedModel:
    """Return the model of one backbone for one task."""
    return ServedModel(backbone, (task,))


def fused(backbone: str) -> ServedModel:
    """Return the model that runs the backbone once for both tasks."""
    return ServedModel(backbone, tuple(Task))


def models_of(backbone: str) -> list[ServedModel]:
    """Return every model of a backbone: the fused one, if both tasks share its base, and one for each task."""
    singles = [single(backbone, task) for task in Task]
    return [fused(backbone), *singles] if BACKBONES[backbone].shares_base else singles


class _Models(Mapping[str, ServedModel]):
    """The models of the backbones that are in `BACKBONES` at the time of asking, by name."""

    def __getitem__(self, name: str) -> ServedModel:
        return self._by_name()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())

    def _by_name(self) -> dict[str, ServedModel]:
        return {model.name: model for backbone in BACKBONES for model in models_of(backbone)}


MODELS: Final[Mapping[str, ServedModel]] = _Models()
"""All servable models, by name."""
