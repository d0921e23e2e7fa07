"""``affect-models``: what a models directory serves, whether a model server can, and changes to it."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from affect_contract.arguments import absolute_path, port, whole_number
from affect_models import changes
from affect_registry import server_files, store
from affect_registry.check import check
from affect_registry.store import Entry, StoreError

_FINE, _NOT_FINE, _UNKNOWN, _INTERRUPTED = 0, 1, 2, 130
_SERVER: Final = "tensorflow_model_server"
_IN_FLIGHT: Final = 64
_POLL_S: Final = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status: 1 when something is wrong, 2 when that cannot be found out."""
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
        status = changes.run(options)
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
    problems = _awaited(options) if options.wait else check(options.models, options.mount)
    if options.json:
        print(json.dumps({"problems": problems}))  # noqa: T201
    elif problems:
        _print_problems(problems)
    else:
        for line in _summary(store.read(options.models)):
            print(line)  # noqa: T201
    return _NOT_FINE if problems else _FINE


def _awaited(options: argparse.Namespace) -> list[str]:
    """The problems once there are none any more; each time that they are others, they are said."""
    said: list[str] = []
    while problems := check(options.models, options.mount):
        if problems != said:
            _print_problems([*problems, "waiting until this is mended"])
            said = problems
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
    flags = server_files.flags(mount, in_flight=options.in_flight, port=options.port, rest_port=options.rest_port)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="affect-models", description="What a models directory serves.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    changes.add_list_arguments(_command(commands, "list", "say which versions there are, and what each is"))
    changes.add_promote_arguments(
        _command(commands, "promote", "make the canary, or another version, stable, without a failed request")
    )
    changes.add_rollback_arguments(
        _command(commands, "rollback", "make the version stable again that was stable before")
    )
    changes.add_prune_arguments(_command(commands, "prune", "delete versions that nobody needs any more"))
    checking = _command(
        commands,
        "check",
        "say everything that would stop a TensorFlow Serving or keep a version from being served; else what is served",
    )
    _add_mount(checking)
    checking.add_argument("--json", action="store_true", help="print the problems as a JSON document")
    checking.add_argument(
        "--wait", action="store_true", help="until there is nothing wrong any more, saying meanwhile what is"
    )
    checking.set_defaults(run=_check)
    flags = _command(commands, "flags", f"print the command line that starts {_SERVER} on the directory")
    _add_mount(flags)
    flags.add_argument("--port", type=port, default=server_files.GRPC_PORT, help="of gRPC (default: %(default)s)")
    flags.add_argument(
        "--rest-port", type=port, default=server_files.REST_PORT, help="of REST and metrics (default: %(default)s)"
    )
    flags.add_argument(
        "--in-flight",
        type=whole_number(1),
        default=_IN_FLIGHT,
        help="calls that may be under way at a time: replicas of the gateway x requests in flight in each, twice that "
        "for backbones without a fused model; more are refused as overload (default: %(default)s)",
    )
    flags.add_argument("--one-per-line", action="store_true", help="the flags alone, a line each")
    flags.set_defaults(run=_flags)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, description: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=description, description=description, allow_abbrev=False)
    parser.add_argument("--models", type=Path, required=True, help="the models directory")
    return parser


def _add_mount(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mount", type=absolute_path, help="where the model server sees the directory, if elsewhere")


if __name__ == "__main__":
    sys.exit(main())
