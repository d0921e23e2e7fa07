"""Catalogs of the embedded backend, from the entries of `models.config` and the outcome of loading their versions.

All functions are pure: they take catalogs, and return new ones.
"""

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
    """Return the versions that the entries name, as if all were loaded; of ``backbones`` only, if any are given."""
    wanted = tuple(backbones) or tuple(BACKBONES)
    return {
        MODELS[name]: tuple(_version(entry, number) for number in entry.versions)
        for name, entry in entries.items()
        if name in MODELS and MODELS[name].backbone in wanted
    }


def needed(catalog: Catalog) -> list[Key]:
    """Return the versions that some request can be routed to."""
    keys: dict[Key, None] = {}
    for backbone in served_backbones(catalog):
        for selector in _selectors(catalog, backbone):
            for model in _routed(catalog, backbone, selector):
                version = select(catalog[model], selector)
                if version is not None:
                    keys[model, version.number] = None
    return list(keys)


def with_failures(catalog: Catalog, failures: Mapping[Key, str]) -> Catalog:
    """Return the catalog with failed versions marked by their problem, so that requests are routed past them."""
    return {
        model: tuple(
            one._replace(state=END, problem=failures[model, one.number]) if (model, one.number) in failures else one
            for one in versions
        )
        for model, versions in catalog.items()
    }


def limited_to(catalog: Catalog, keys: Iterable[Key]) -> Catalog:
    """Return the catalog reduced to the versions with these keys."""
    kept = set(keys)
    chosen = {
        model: tuple(one for one in versions if (model, one.number) in kept) for model, versions in catalog.items()
    }
    return {model: versions for model, versions in chosen.items() if versions}


def with_loading(before: Catalog, keys: Iterable[Key]) -> Catalog:
    """Return the catalog with the versions that are being loaded added, for backbones that it has already."""
    loading: dict[ServedModel, tuple[Version, ...]] = {}
    for model, number in keys:
        loading[model] = (*loading.get(model, ()), Version(number, LOADING, ()))
    served = served_backbones(before)
    return _combined(before, {model: several for model, several in loading.items() if model.backbone in served})


def merged(before: Catalog, after: Catalog) -> Catalog:
    """Return the catalog to serve from now on: ``after``, except for backbones that would lose an answer by it.

    A backbone loses an answer if a label that requests could use before fails after, although ``after`` has it still.
    Such a backbone stays as it was, and its new versions are listed beside that without labels. A backbone that could
    not answer before and cannot now is left out.
    """
    result: Catalog = {}
    for backbone in served_backbones(after):
        old, new = _only(before, backbone), _only(after, backbone)
        if all(_routed(new, backbone, one) for one in _selectors_to_keep(old, new, backbone)):
            chosen: Catalog = new
        else:
            chosen = _combined(old, {model: tuple(one._replace(labels=()) for one in new[model]) for model in new})
        if _can_answer(chosen, backbone):
            result = {**result, **chosen}
    return result


def unanswered(catalog: Catalog, offer: Catalog) -> list[BackboneName]:
    """Return the backbones of an offer for which a catalog has no answer."""
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


def _selectors_to_keep(old: Catalog, new: Catalog, backbone: BackboneName) -> Iterator[Selector]:
    """Return the selectors without a version number that ``old`` can answer, and whose label ``new`` still has."""
    known = {selector for selector in _selectors(new, backbone) if selector.version is None}
    return (one for one in _selectors(old, backbone) if one in known and _routed(old, backbone, one))


def _routed(catalog: Catalog, backbone: BackboneName, selector: Selector) -> list[ServedModel]:
    """Return the models that answer, as `route` does, but none where the request would fail."""
    try:
        return route(catalog, backbone, selector)
    except AffectError:
        return []


def _can_answer(catalog: Catalog, backbone: BackboneName) -> bool:
    """Return whether a request that names neither a version nor a label gets an answer."""
    return bool(_routed(catalog, backbone, Selector()))


def _only(catalog: Catalog, backbone: BackboneName) -> dict[ServedModel, tuple[Version, ...]]:
    return {model: versions for model, versions in catalog.items() if model.backbone == backbone}


def _combined(catalog: Catalog, more: Catalog) -> Catalog:
    """Return the versions of both catalogs, ascending; a version in both is taken from ``catalog``."""
    combined = dict(catalog)
    for model, versions in more.items():
        known = {one.number for one in catalog.get(model, ())}
        added = (one for one in versions if one.number not in known)
        combined[model] = tuple(sorted((*catalog.get(model, ()), *added)))
    return combined
