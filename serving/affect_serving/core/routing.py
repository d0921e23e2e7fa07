"""Routing: the models that answer for a backbone, the fused one where it is up to date, else the pair."""

from collections.abc import Iterable

from affect_contract.backbones import BackboneName, in_order
from affect_contract.errors import BackendError, ModelNotReady, UnknownModel
from affect_contract.models import ServedModel
from affect_contract.versions import AVAILABLE, STABLE
from affect_serving.core.backend import Catalog, Selector, Version


def route(catalog: Catalog, backbone: str, selector: Selector) -> list[ServedModel]:
    """Return the models to run, side by side, for every task that ``backbone`` has in the selected version.

    The fused model is used only where it is at least as new as both models of the pair; after a publish of a single
    task it is not.

    Raises:
        UnknownModel: there is no such backbone, version or label.
        ModelNotReady: the version is known but cannot answer now.
        BackendError: the version is known but cannot be served.
    """
    versions: Catalog = {model: versions for model, versions in catalog.items() if model.backbone == backbone}
    if not versions:
        raise UnknownModel(f"the backbone {backbone!r} is not served here: {_choices(served_backbones(catalog))}")
    if selector.version is None:
        versions = _without_unlabelled(versions)
    selected = {model: version for model in versions if (version := select(versions[model], selector))}
    if not selected:
        raise UnknownModel(f"{backbone} has no {_wanted(selector)}: {_offers(versions.values())}")
    chosen = _newest(selected)
    problems = [selected[model].problem for model in chosen if selected[model].problem]
    if problems:
        raise BackendError(f"{problems[0]}; publish another version")
    waiting = [model.name for model in chosen if selected[model].state != AVAILABLE]
    if waiting:
        raise ModelNotReady(f"{', '.join(waiting)} cannot answer yet: try again in a moment", retry_after_s=1.0)
    return chosen


def select(versions: Iterable[Version], selector: Selector) -> Version | None:
    """Return the version that a selector means, None if there is none.

    Where no version has a label, as behind a server without labels, stable means the latest that can answer.
    """
    versions = list(versions)
    if selector.version is not None:
        return next((one for one in versions if one.number == selector.version), None)
    label = selector.label or STABLE
    labelled = next((one for one in versions if label in one.labels), None)
    if labelled is None and label == STABLE and not any(one.labels for one in versions):
        return max((one for one in versions if one.state == AVAILABLE), default=max(versions, default=None))
    return labelled


def served_backbones(catalog: Catalog) -> list[BackboneName]:
    """Return the backbones of a catalog, in the contract's order."""
    return in_order(model.backbone for model in catalog)


def _without_unlabelled(versions: Catalog) -> Catalog:
    """Leave out models without any label whose tasks labelled models answer: they are still being rolled out."""
    labelled = {model for model, several in versions.items() if any(one.labels for one in several)}
    answered = {task for model in labelled for task in model.tasks}
    return {
        model: several
        for model, several in versions.items()
        if model in labelled or not answered.issuperset(model.tasks)
    }


def _newest(selected: dict[ServedModel, Version]) -> list[ServedModel]:
    """Choose between the fused model, if it has the newest version, and the pair; avoid versions with a problem."""
    newest = max(version.number for version in selected.values())
    fused = [model for model in selected if model.is_fused and selected[model].number == newest]
    pair = [model for model in selected if not model.is_fused]
    sound = [several for several in (fused, pair) if several and not any(selected[one].problem for one in several)]
    return sound[0] if sound else fused or pair


def _wanted(selector: Selector) -> str:
    return f"version {selector.version}" if selector.version is not None else f"label {selector.label or STABLE!r}"


def _offers(versions: Iterable[tuple[Version, ...]]) -> str:
    flat = [one for several in versions for one in several]
    numbers = sorted({one.number for one in flat})
    labels = sorted({label for one in flat for label in one.labels})
    return f"it has version {_choices(numbers)}, label {_choices(labels)}"


def _choices(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values) or "none"
