"""What an embedded gateway offers: from the entries of `models.config`, and what became of loading their versions."""

from collections.abc import Iterable, Iterator, Mapping

from affect_contract.backbones import BACKBONES, BackboneName
from affect_contract.errors import AffectError
from affect_contract.models import MODELS, ServedModel
from affect_contract.versions import AVAILABLE, END, LOADING
from affect_registry import store
from affect_serving.core.backend import Catalog, Selector, Version
from affect_serving.core.routing import route, select, served_backbones

Key = tuple[ServedModel, int]
"""One version of one model."""


def offered(entries: store.Entries, backbones: Iterable[BackboneName]) -> Catalog:
    """All that the entries name of the backbones wanted, or of all, as if it were loaded."""
    wanted = tuple(backbones) or tuple(BACKBONES)
    return {
        MODELS[name]: tuple(_version(entry, number) for number in entry.versions)
        for name, entry in entries.items()
        if name in MODELS and MODELS[name].backbone in wanted
    }


def needed(catalog: Catalog) -> list[Key]:
    """The versions that some request can be routed to."""
    keys: dict[Key, None] = {}
    for backbone in served_backbones(catalog):
        for selector in _selectors(catalog, backbone):
            for model in _routed(catalog, backbone, selector):
                version = select(catalog[model], selector)
                if version is not None:
                    keys[model, version.number] = None
    return list(keys)


def without_failed(catalog: Catalog, failures: Mapping[Key, str]) -> Catalog:
    """The same, with the versions that do not load marked as such, so that others are routed to in their place."""
    return {
        model: tuple(
            one._replace(state=END, problem=failures[model, one.number]) if (model, one.number) in failures else one
            for one in versions
        )
        for model, versions in catalog.items()
    }


def limited_to(catalog: Catalog, keys: Iterable[Key]) -> Catalog:
    """The versions with these keys, and no others."""
    kept = set(keys)
    chosen = {
        model: tuple(one for one in versions if (model, one.number) in kept) for model, versions in catalog.items()
    }
    return {model: versions for model, versions in chosen.items() if versions}


def announced(before: Catalog, coming: Iterable[Key]) -> Catalog:
    """What is served, and beside it what is being loaded of the same backbones."""
    loading: dict[ServedModel, tuple[Version, ...]] = {}
    for model, number in coming:
        loading[model] = (*loading.get(model, ()), Version(number, LOADING, ()))
    return _beside(before, {model: several for model, several in loading.items() if model.backbone in _of(before)})


def settled(before: Catalog, after: Catalog) -> Catalog:
    """What is served from now on: ``after``, but for the backbones that it would take an answer from.

    A label that could be answered before must be answered after, or the backbone stays as it was; what is new of it
    is listed beside that, without labels. A backbone that never answered, and cannot now, is left out.
    """
    result: Catalog = {}
    for backbone in served_backbones(after):
        old, new = _only(before, backbone), _only(after, backbone)
        if all(_routed(new, backbone, one) for one in _held(old, new, backbone)):
            chosen: Catalog = new
        else:
            chosen = _beside(old, {model: tuple(one._replace(labels=()) for one in new[model]) for model in new})
        if _can_answer(chosen, backbone):
            result = {**result, **chosen}
    return result


def unanswered(catalog: Catalog, offer: Catalog) -> list[BackboneName]:
    """The backbones of an offer that a catalog cannot answer for."""
    return [backbone for backbone in served_backbones(offer) if not _can_answer(catalog, backbone)]


def _version(entry: store.Entry, number: int) -> Version:
    labels = tuple(sorted(label for label, one in entry.labels.items() if one == number))
    return Version(number, AVAILABLE, labels)


def _selectors(catalog: Catalog, backbone: BackboneName) -> list[Selector]:
    versions = [one for several in _only(catalog, backbone).values() for one in several]
    labels = {label for one in versions for label in one.labels}
    return [
        Selector(),
        *(Selector(label=label) for label in sorted(labels)),
        *(Selector(version=number) for number in sorted({one.number for one in versions})),
    ]


def _held(old: Catalog, new: Catalog, backbone: BackboneName) -> Iterator[Selector]:
    """What could be asked for without a version, and still can be by its name."""
    still = {selector for selector in _selectors(new, backbone) if selector.version is None}
    return (one for one in _selectors(old, backbone) if one in still and _routed(old, backbone, one))


def _routed(catalog: Catalog, backbone: BackboneName, selector: Selector) -> list[ServedModel]:
    """The models that answer; none where the request fails."""
    try:
        return route(catalog, backbone, selector)
    except AffectError:
        return []


def _can_answer(catalog: Catalog, backbone: BackboneName) -> bool:
    """Whether a request that asks for nothing in particular gets an answer."""
    return bool(_routed(catalog, backbone, Selector()))


def _only(catalog: Catalog, backbone: BackboneName) -> dict[ServedModel, tuple[Version, ...]]:
    return {model: versions for model, versions in catalog.items() if model.backbone == backbone}


def _of(catalog: Catalog) -> set[BackboneName]:
    return set(served_backbones(catalog))


def _beside(catalog: Catalog, more: Catalog) -> Catalog:
    """Both, in order; of a version in both, what ``catalog`` says."""
    merged = dict(catalog)
    for model, versions in more.items():
        known = {one.number for one in catalog.get(model, ())}
        added = (one for one in versions if one.number not in known)
        merged[model] = tuple(sorted((*catalog.get(model, ()), *added)))
    return merged
