"""Recipes as files: how a run is trained, in TOML, each with the command and what it gives in its description."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from affect_training.errors import TrainingError
from affect_training.recipes.recipe import FineTuning, Mode, Recipe

_SUFFIX: Final = ".toml"
_KINDS: Final[dict[Mode, type[Recipe]]] = {Mode.FROZEN: Recipe, Mode.FINE_TUNE: FineTuning}

DEFAULT_RECIPES: Final = {Mode.FROZEN: "study", Mode.FINE_TUNE: "best"}
"""The recipe of each mode where none is named."""


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX))


def load_recipe(name: str) -> Recipe:
    """A recipe by its name, or by the path of its file.

    Raises:
        TrainingError: there is none, or a key or value in it cannot be.
    """
    source, text = _text(name)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise TrainingError(f"{source} is no TOML: {exc}") from exc
    document.pop("description", None)
    mode = document.pop("mode", None)
    if mode not in set(Mode):
        raise TrainingError(f"{source} gives no mode: write mode = one of {', '.join(Mode)}")
    return _recipe(source, _KINDS[Mode(mode)], document)


def _text(name: str) -> tuple[str, str]:
    if name in recipe_names():
        return f"recipe {name}", resources.files(__package__).joinpath(name + _SUFFIX).read_text("utf-8")
    path = Path(name)
    try:
        return str(path), path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise TrainingError(
            f"there is no recipe {name!r}: give {' or '.join(recipe_names())}, or the path of a {_SUFFIX} file ({exc})"
        ) from exc


def _recipe(source: str, kind: type[Recipe], document: dict[str, Any]) -> Recipe:
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            raise TrainingError(f"{source}: no recipe of its mode has the key {key!r}") from exc
        raise TrainingError(f"{source}: {key} = {first['input']!r}: {first['msg']}") from exc
