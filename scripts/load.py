"""Put load on a gateway and judge it: a running one, or one started for the load on a models directory."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from affect_client.local_gateway import GatewayUrls, local_gateway
from affect_client.rpc.client import DEFAULT_ADDRESS
from affect_contract.arguments import positive_number, seconds
from affect_contract.commands import CommandParser
from affect_load.options import DEFAULT_RATE
from affect_load.stages import LoadKind

ROOT: Final = Path(__file__).resolve().parent.parent
SOAK_SHARE: Final = 0.8
SOAK_S: Final = 20 * 60.0


def main() -> int:
    """Run the load, and return the exit status of its verdict."""
    options, rest = _parser().parse_known_args()
    if not options.url and not (options.models / "models.config").exists():
        print(
            f"{options.models} holds no models: make demo, or name MODELS=DIR or URL=http://HOST:PORT", file=sys.stderr
        )
        return 2
    started = (
        contextlib.nullcontext(GatewayUrls(options.url, options.grpc)) if options.url else local_gateway(options.models)
    )
    with started as urls:
        if options.kind != LoadKind.SOAK:
            rate = [] if options.rate is None else ["--rate", str(options.rate)]
            return _locust(urls, options.kind, options.out, [*rest, *rate])
        if options.rate is None:
            status = _locust(urls, LoadKind.STEPS, options.out / LoadKind.STEPS, rest)
            highest = json.loads((options.out / LoadKind.STEPS / "load.json").read_text())["highest_rate"]
            if status or not highest:
                print("no saturation was found, so there is no soak: see above, or name a rate", file=sys.stderr)
                return status or 1
            options.rate = SOAK_SHARE * highest
        return _locust(
            urls, LoadKind.SOAK, options.out, [*rest, "--rate", str(options.rate), "--seconds", str(options.soak_s)]
        )


def _locust(urls: GatewayUrls, kind: str, out: Path, more: Sequence[str]) -> int:
    command = [sys.executable, "-m", "locust", "-f", "client/load/locustfile.py", "--headless", "--only-summary"]
    command += ["--host", urls.http, "--grpc", urls.grpc, "--kind", kind, "--out", str(out.resolve()), *more]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m scripts.load",
        description="Put load on a gateway and judge how it carries it. A soak first looks for saturation in short "
        "steps, and then holds 80 % of that rate.",
        notes="Any other option is passed on to locust, --p95-ms and --batch for example; locust -f "
        "client/load/locustfile.py --help lists them. Exit status: 0 if the gateway passed, 1 if it failed, 2 if there "
        "is no gateway and no model, 3 if the load generator was the bottleneck, so that nothing is known.",
        examples=(
            "python -m scripts.load --models models",
            "python -m scripts.load --url http://127.0.0.1:8080 --grpc grpc://127.0.0.1:9090 --kind spike --rate 40",
            "python -m scripts.load --models models --kind soak --soak-s 600",
        ),
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("demo-out/models"),
        metavar="DIR",
        help="models directory; a gateway that serves it is started for the load (default: %(default)s)",
    )
    parser.add_argument(
        "--url", metavar="URL", help="HTTP address of a gateway that runs already (default: none, one is started)"
    )
    parser.add_argument(
        "--grpc",
        default=DEFAULT_ADDRESS,
        metavar="URL",
        help="gRPC address of the gateway that --url names (default: %(default)s)",
    )
    parser.add_argument(
        "--kind", choices=[*LoadKind], default=LoadKind.STEPS, help="kind of load (default: %(default)s)"
    )
    parser.add_argument(
        "--rate",
        type=positive_number,
        metavar="NUMBER",
        help=f"requests per second to begin with (default: {DEFAULT_RATE:g}), or to hold in a soak (default: 80 %% of "
        "saturation)",
    )
    parser.add_argument(
        "--soak-s",
        type=seconds,
        default=SOAK_S,
        metavar="SECONDS",
        help="how long a soak lasts (default: %(default)g)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("load-out"), metavar="DIR", help="folder for the report (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
