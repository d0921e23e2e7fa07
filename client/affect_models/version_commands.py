"""``affect-models list, promote, rollback and prune``: list versions, change the stable one, delete old ones."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from affect_client.credentials import CredentialsError, add_credential_arguments, read_credentials
from affect_contract.arguments import names, seconds, whole_number
from affect_contract.backbones import BACKBONES
from affect_contract.comparison import parse_condition
from affect_contract.models import MODELS
from affect_contract.versions import CANARY, STABLE
from affect_models import listing
from affect_models.gate import RunsUnusable, objections
from affect_models.gateway_observer import GatewayObserver
from affect_models.run_comparison import compare_runs
from affect_models.tfserving_observer import tfserving_observers
from affect_registry import promotion, pruning, store
from affect_registry.check import check_versions
from affect_registry.observers import Observer, Unobservable
from affect_registry.promotion import Versions
from affect_registry.publication import RELOAD_WAIT_S
from affect_registry.rollout import Rollout, RolloutFailed
from affect_registry.store import Entries, StoreError

_DONE, _REFUSED, _UNKNOWN = 0, 1, 2
_TIMEOUT_S: Final = 300.0
_KEEP: Final = 3
_GATE: Final = ("if_evaluation", "against", "fail_if")


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``affect-models list``."""
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    _add_observer_arguments(parser)
    parser.set_defaults(run=_list)


def add_promote_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``affect-models promote``."""
    parser.add_argument(
        "--version",
        type=whole_number(1),
        metavar="N",
        help="version to make stable (default: the canary of each model)",
    )
    _add_change_arguments(parser)
    gate = parser.add_argument_group("condition", "Promote only if its scores allow it. Give all three options.")
    gate.add_argument(
        "--if-evaluation",
        type=Path,
        metavar="DIR",
        help="folder of the affect-evaluate run of the version to promote (default: no condition)",
    )
    gate.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="folder of the run of the stable version, on the same pictures (default: no condition)",
    )
    gate.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help='do not promote if a score has changed so, as in affect-evaluate compare: "valence.ccc < -0.02"; may be '
        "repeated (default: no condition)",
    )
    parser.set_defaults(run=_promote)


def add_rollback_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``affect-models rollback``."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--version",
        type=whole_number(1),
        metavar="N",
        help="version to make stable (default: the one that was stable before the last promotion)",
    )
    which.add_argument(
        "--canary", action="store_true", help="take the canary out of service instead, and leave stable as it is"
    )
    _add_change_arguments(parser)
    parser.set_defaults(run=_roll_back)


def add_prune_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``affect-models prune``."""
    parser.add_argument(
        "--keep",
        type=whole_number(1),
        default=_KEEP,
        metavar="N",
        help="how many of the newest versions of each model to keep in any case (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be deleted, and delete nothing")
    parser.set_defaults(run=_prune)


def run(options: argparse.Namespace) -> int:
    """Run one of the commands and return its exit status.

    Raises:
        StoreError: the models directory cannot be read or changed.
    """
    try:
        status: int = options.run(options)
    except RolloutFailed as exc:
        _say(f"{exc}; models.config is as it was, and the versions that were served still are")
        return _REFUSED
    except (Unobservable, RunsUnusable) as exc:
        _say(str(exc))
        return _UNKNOWN
    except OSError as exc:
        raise StoreError(f"{exc.filename or options.models} cannot be changed: {exc.strerror}") from exc
    return status


def _list(options: argparse.Namespace) -> int:
    found = listing.listed_versions(options.models, store.read(options.models), _observers(options))
    print(json.dumps({"models": listing.by_model(found)}, indent=2) if options.json else listing.table(found))  # noqa: T201
    return _DONE


def _promote(options: argparse.Namespace) -> int:
    _require_complete_gate(options)
    observers = _required_observers(options)
    with _locked(options.models):
        entries = store.read(options.models)
        if options.version:
            targets = promotion.with_version(options.models, entries, options.version, options.backbones)
        else:
            targets = promotion.canaries(entries, options.backbones)
        if not targets:
            return _finish_interrupted(options, entries, observers)
        if options.if_evaluation and (reasons := _objections(options, entries, targets)):
            return _refuse(reasons)
        return _change(options, entries, targets, observers)


def _roll_back(options: argparse.Namespace) -> int:
    if options.canary:
        return _withdraw(options)
    observers = _required_observers(options)
    with _locked(options.models):
        entries = store.read(options.models)
        if options.version:
            targets = promotion.with_version(options.models, entries, options.version, options.backbones)
        else:
            targets = promotion.previously_stable(options.models, entries, options.backbones)
        if not targets:
            wanted = f"version {options.version}" if options.version else "what was stable before"
            return _refuse([f"there is no going back to {wanted}: {_on_disk(options.models, entries)}; name --version"])
        return _change(options, entries, targets, observers, record=False)


def _withdraw(options: argparse.Namespace) -> int:
    with _locked(options.models):
        entries = store.read(options.models)
        names = promotion.canaries(entries, options.backbones)
        if not names:
            return _refuse([f"no model has the label {CANARY!r}: there is nothing to withdraw"])
        store.write(options.models, promotion.without_canaries(entries, names))
    for name, version in names.items():
        print(f"{name}: {CANARY} {version} withdrawn")  # noqa: T201
    return _DONE


def _prune(options: argparse.Namespace) -> int:
    with _locked(options.models):
        found = (pruning.prunable_versions if options.dry_run else pruning.prune)(options.models, options.keep)
    for directory in found:
        print(f"{'would delete' if options.dry_run else 'deleted'} {directory}")  # noqa: T201
    if not found:
        _say("there is nothing to delete")
    return _DONE


def _change(
    options: argparse.Namespace,
    entries: Entries,
    targets: Versions,
    observers: Sequence[Observer],
    *,
    record: bool = True,
) -> int:
    problems = check_versions(options.models, entries, targets)
    if problems:
        return _refuse(problems)
    rollout = Rollout(options.models, observers, timeout_s=options.timeout_s, report=_say)
    rollout.carry_out(entries, targets, keep_old=options.keep_old, record=record)
    for name, version in targets.items():
        print(f"{name}: {STABLE} {entries[name].labels.get(STABLE, 'none')} -> {version}")  # noqa: T201
    return _DONE


def _finish_interrupted(options: argparse.Namespace, entries: Entries, observers: Sequence[Observer]) -> int:
    """Finish a change that was killed and left a version without a label."""
    targets = promotion.interrupted(entries, options.backbones)
    if not targets:
        wanted = f"version {options.version}" if options.version else f"a version labelled {CANARY!r}"
        on_disk = _on_disk(options.models, entries)
        return _refuse([f"no model has {wanted} that is not stable already: {on_disk}; publish one first"])
    _say("an earlier change was interrupted; finishing it")
    return _change(options, entries, targets, observers)


def _require_complete_gate(options: argparse.Namespace) -> None:
    given = [name for name in _GATE if getattr(options, name)]
    if given and len(given) < len(_GATE):
        raise argparse.ArgumentError(None, "--if-evaluation, --against and --fail-if go together: give all three")


def _objections(options: argparse.Namespace, entries: Entries, targets: Versions) -> list[str]:
    try:
        conditions = [parse_condition(text) for text in options.fail_if]
    except ValueError as exc:
        raise argparse.ArgumentError(None, str(exc)) from exc
    stable = {name: entry.labels[STABLE] for name, entry in entries.items() if STABLE in entry.labels}
    comparison = compare_runs(options.against, options.if_evaluation)
    return objections(comparison, conditions, canary=targets, stable=stable)


def _on_disk(root: Path, entries: Entries) -> str:
    versions = {
        version
        for name, entry in entries.items()
        if name in MODELS
        for version in store.versions_on_disk(entry.directory(root))
    }
    return f"on disk are {', '.join(map(str, sorted(versions))) or 'none'}"


def _locked(root: Path) -> Any:
    return store.locked(root, on_wait=lambda: _say("another publish or promotion is under way: waiting for its end"))


def _refuse(reasons: Sequence[str]) -> int:
    for reason in reasons:
        _say(reason)
    return _REFUSED


def _say(line: str) -> None:
    print(f"affect-models: {line}", file=sys.stderr)  # noqa: T201


def _required_observers(options: argparse.Namespace) -> list[Observer]:
    """Return the observers that the options name; none with ``--files-only``.

    Raises:
        Unobservable: no observer is named, and ``--files-only`` is not given.
    """
    observers = _observers(options)
    if not observers and not options.files_only:
        raise Unobservable(
            "no server is named that could report whether a version has loaded: name the model servers with "
            "--tfserving HOST:PORT or the gateways with --url URL; if none runs, --files-only changes the files alone"
        )
    return observers


def _observers(options: argparse.Namespace) -> list[Observer]:
    servers = [observer for target in options.tfserving for observer in tfserving_observers(target)]
    try:
        return [*servers, *(GatewayObserver(url, read_credentials(options)) for url in options.url)]
    except CredentialsError as exc:
        raise Unobservable(str(exc)) from exc


def _add_change_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backbones",
        type=names(BACKBONES),
        default=(),
        metavar="A,B",
        help="backbones whose models to change, separated by commas (default: all)",
    )
    parser.add_argument(
        "--keep-old",
        action="store_true",
        help="keep the version that was stable loaded, with the label previous, so that a rollback need not load it",
    )
    parser.add_argument(
        "--timeout-s",
        type=seconds,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help="time that a version may take to load, and then a label to move to it (default: %(default)g)",
    )
    _add_observer_arguments(parser)
    parser.add_argument(
        "--files-only",
        action="store_true",
        help=f"ask no server, and wait {RELOAD_WAIT_S:g} s between steps instead, for running servers to read the file",
    )


def _add_observer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tfserving",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="gRPC address of the TensorFlow Serving to ask for the state of versions, every server behind that name; "
        "may be repeated (default: none)",
    )
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="URL",
        help="HTTP address of a gateway to ask for the state of versions; may be repeated (default: none)",
    )
    add_credential_arguments(parser)
