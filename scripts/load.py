"""Load on a gateway, judged: on one that runs already, or on one of its own over a models directory.

    python -m scripts.load [--models DIR | --url URL --grpc URL] [--kind steps|spike|soak] [options of locust]

A soak first looks for saturation in short steps, then holds 80 % of it. Ends with the verdict's status: 0 passed, 1
failed, 3 void.
"""

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from affect_client.local_gateway import Urls, local_gateway

ROOT: Final = Path(__file__).resolve().parent.parent
SOAK_SHARE: Final = 0.8
SOAK_S: Final = 20 * 60.0
STEPS: Final = "steps"
SOAK: Final = "soak"


def main() -> int:
    """Run the load; the result is the exit status."""
    options, rest = _parser().parse_known_args()
    if not options.url and not (options.models / "models.config").exists():
        print(
            f"{options.models} holds no models: make demo, or name MODELS=DIR or URL=http://HOST:PORT", file=sys.stderr
        )
        return 2
    started = contextlib.nullcontext(Urls(options.url, options.grpc)) if options.url else local_gateway(options.models)
    with started as urls:
        if options.kind != SOAK:
            rate = [] if options.rate is None else ["--rate", str(options.rate)]
            return _locust(urls, options.kind, options.out, [*rest, *rate])
        if options.rate is None:
            status = _locust(urls, STEPS, options.out / STEPS, rest)
            highest = json.loads((options.out / STEPS / "load.json").read_text())["highest_rate"]
            if status or not highest:
                print("no saturation was found, so there is no soak: see above, or name a rate", file=sys.stderr)
                return status or 1
            options.rate = SOAK_SHARE * highest
        return _locust(urls, SOAK, options.out, [*rest, "--rate", str(options.rate), "--seconds", str(options.soak_s)])


def _locust(urls: Urls, kind: str, out: Path, more: Sequence[str]) -> int:
    words = [sys.executable, "-m", "locust", "-f", "client/load/locustfile.py", "--headless", "--only-summary"]
    words += ["--host", urls.http, "--grpc", urls.grpc, "--kind", kind, "--out", str(out.resolve()), *more]
    return subprocess.run(words, cwd=ROOT, check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.load", description="Load a gateway, and judge. Other options are handed to locust."
    )
    parser.add_argument("--models", type=Path, default=Path("demo-out/models"), help="default: %(default)s")
    parser.add_argument("--url", help="of a gateway that runs already")
    parser.add_argument("--grpc", default="grpc://127.0.0.1:9090", help="and its gRPC address (default: %(default)s)")
    parser.add_argument("--kind", choices=[STEPS, "spike", SOAK], default=STEPS, help="default: %(default)s")
    parser.add_argument(
        "--rate", type=float, help="requests/s to begin with, or of a soak (there: 80 %% of saturation)"
    )
    parser.add_argument("--soak-s", type=float, default=SOAK_S, help="of a soak (default: %(default)g)")
    parser.add_argument("--out", type=Path, default=Path("load-out"), help="for the report (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
