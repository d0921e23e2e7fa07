"""``affect-models``: show what a models directory serves, check it for a model server, and change it."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from affect_contract.arguments import absolute_path, port, whole_number
from affect_contract.commands import CommandParser
from affect_models import version_commands
from affect_registry import model_server_settings, store
from affect_registry.check import check
from affect_registry.store import Entry, StoreError

_FINE, _NOT_FINE, _UNKNOWN, _INTERRUPTED = 0, 1, 2, 130
_SERVER: Final = "tensorflow_model_server"
_IN_FLIGHT: Final = 64
_OBSERVER_NOTES: Final = (
    "Name the servers that run the models, with --tfserving or --url: each step waits until they have taken the one "
    "before, and is undone if they do not. If no server runs, give --files-only."
)
_POLL_S: Final = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 if something is wrong, 2 if that cannot be found out."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        next(options.models.iterdir(), None)
    except OSError as exc:
        print(  # noqa: T201
            f"affect-models: the models directory {options.models} cannot be read ({exc.strerror}): name one that "
            f"affect-train has published to",
            file=sys.stderr,
        )
        return _UNKNOWN
    try:
        status = version_commands.run(options)
    except argparse.ArgumentError as exc:
        parser.error(str(exc))
    except StoreError as exc:
        print(f"affect-models: {exc}", file=sys.stderr)  # noqa: T201
        return _NOT_FINE
    except KeyboardInterrupt:
        print("affect-models: stopped; models.config is as it was", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED
    return status


def _check(options: argparse.Namespace) -> int:
    problems = _wait_until_sound(options) if options.wait else check(options.models, options.mount)
    if options.json:
        print(json.dumps({"problems": problems}))  # noqa: T201
    elif problems:
        _print_problems(problems)
    else:
        for line in _summary(store.read(options.models)):
            print(line)  # noqa: T201
    return _NOT_FINE if problems else _FINE


def _wait_until_sound(options: argparse.Namespace) -> list[str]:
    """Check the directory until it has no problems, which are printed whenever they change; return none."""
    printed: list[str] = []
    while problems := check(options.models, options.mount):
        if problems != printed:
            _print_problems([*problems, "waiting until this is mended"])
            printed = problems
        time.sleep(_POLL_S)
    return problems


def _flags(options: argparse.Namespace) -> int:
    if options.port == options.rest_port:
        raise argparse.ArgumentError(None, f"--port and --rest-port are both {options.port}: give two ports")
    mount = options.mount or PurePosixPath(options.models.resolve())
    problems = check(options.models, mount)
    if problems:
        _print_problems(problems)
        return _NOT_FINE
    flags = model_server_settings.flags(
        mount, in_flight=options.in_flight, port=options.port, rest_port=options.rest_port
    )
    words = [f"--{name}={value}" for name, value in flags.items()]
    print("\n".join(words) if options.one_per_line else shlex.join([_SERVER, *words]))  # noqa: T201
    return _FINE


def _print_problems(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"affect-models: {problem}", file=sys.stderr)  # noqa: T201


def _summary(entries: Mapping[str, Entry]) -> list[str]:
    width = max(map(len, entries))
    return [f"{name:{width}}  {_versions(entry)}" for name, entry in sorted(entries.items())]


def _versions(entry: Entry) -> str:
    labels = {version: [label for label, one in entry.labels.items() if one == version] for version in entry.versions}
    return ", ".join(f"{version} ({', '.join(sorted(labels[version])) or 'no label'})" for version in entry.versions)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="affect-models",
        description="Show what a models directory serves, and change it without a failed request.",
        notes="Each command has a --help of its own; in promote and rollback, --version N is a model's version. Exit "
        "status: 0 if all is well, 1 if something is wrong, 2 if that cannot be found out.",
        examples=(
            "affect-models list --models models",
            "affect-models promote --models models --url http://127.0.0.1:8080",
        ),
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", help="what to do, one of:")
    version_commands.add_list_arguments(
        _command(
            commands,
            "list",
            "show every version of every model: its labels, its size, and whether the servers named have loaded it",
            "affect-models list --models models",
            "affect-models list --models models --tfserving tfserving:8500 --json",
        )
    )
    version_commands.add_promote_arguments(
        _command(
            commands,
            "promote",
            "make the canary, or any other version, stable",
            "affect-models promote --models models --url http://127.0.0.1:8080",
            "affect-models promote --models models --tfserving tfserving:8500 --if-evaluation canary-scores "
            '--against stable-scores --fail-if "valence.ccc < -0.02"',
            notes=_OBSERVER_NOTES,
            has_version=False,
        )
    )
    version_commands.add_rollback_arguments(
        _command(
            commands,
            "rollback",
            "make the version stable that was stable before, or withdraw the canary",
            "affect-models rollback --models models --url http://127.0.0.1:8080",
            "affect-models rollback --models models --canary",
            notes=f"{_OBSERVER_NOTES} --canary needs none of them.",
            has_version=False,
        )
    )
    version_commands.add_prune_arguments(
        _command(
            commands,
            "prune",
            "delete old versions from the disk, but none that is served or that a rollback would go back to",
            "affect-models prune --models models --keep 5 --dry-run",
        )
    )
    _add_check_arguments(
        _command(
            commands,
            "check",
            "report everything that would keep TensorFlow Serving from starting or a version from being served",
            "affect-models check --models models",
            "affect-models check --models /srv/models --mount /models --wait",
        )
    )
    _add_flags_arguments(
        _command(
            commands,
            "flags",
            f"print the command line that starts {_SERVER} on the directory",
            "affect-models flags --models models --in-flight 64",
            "affect-models flags --models /srv/models --mount /models --one-per-line",
        )
    )
    return parser


def _command(
    commands: "argparse._SubParsersAction[CommandParser]",
    name: str,
    summary: str,
    *examples: str,
    notes: str = "",
    has_version: bool = True,
) -> CommandParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        examples=examples,
        notes=notes,
        has_version=has_version,
    )
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="the models directory")
    return parser


def _add_check_arguments(parser: argparse.ArgumentParser) -> None:
    _add_mount(parser, "not checked")
    parser.add_argument("--json", action="store_true", help="print the problems as a JSON document")
    parser.add_argument(
        "--wait", action="store_true", help="wait until there is no problem any more, and report them until then"
    )
    parser.set_defaults(run=_check)


def _add_flags_arguments(parser: argparse.ArgumentParser) -> None:
    _add_mount(parser, "the directory's own path")
    parser.add_argument(
        "--port",
        type=port,
        default=model_server_settings.GRPC_PORT,
        metavar="PORT",
        help="the server's gRPC port (default: %(default)s)",
    )
    parser.add_argument(
        "--rest-port",
        type=port,
        default=model_server_settings.REST_PORT,
        metavar="PORT",
        help="the server's port for REST and metrics (default: %(default)s)",
    )
    parser.add_argument(
        "--in-flight",
        type=whole_number(1),
        default=_IN_FLIGHT,
        metavar="N",
        help="most calls that gateways make at the same time, beyond which the server refuses them: the number of "
        "gateways times their max_in_flight, and twice that for backbones without a fused model (default: %(default)s)",
    )
    parser.add_argument("--one-per-line", action="store_true", help="print the flags alone, each on its line")
    parser.set_defaults(run=_flags)


def _add_mount(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--mount",
        type=absolute_path,
        metavar="PATH",
        help=f"where the model server sees the models directory (default: {default})",
    )


if __name__ == "__main__":
    sys.exit(main())
