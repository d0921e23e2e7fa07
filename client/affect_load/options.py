"""What a load is told: options of locust's own command line, plain values, since locust sends them to its workers."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from affect_client.access import KEY_VARIABLE, Access
from affect_client.access import access as read_access
from affect_client.http.client import DEFAULT_URL
from affect_client.rpc.client import DEFAULT_ADDRESS
from affect_contract.arguments import positive_number, seconds, whole_number
from affect_load.stages import Kind, Plan, Target, plan

TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Options:
    """As they were given."""

    grpc: str
    pictures: str
    kind: Kind
    rate: float
    seconds: float
    target: Target
    batch: int
    ca: str
    out: Path

    @property
    def plan(self) -> Plan:
        """What is offered."""
        return plan(self.kind, self.rate, self.seconds, self.target)


def access(ca: str) -> Access:
    """Key, from the environment alone, and certificates, from a file if it is named.

    Raises:
        AccessError: one of them cannot be used.
    """
    return read_access(argparse.Namespace(api_key_file=None, ca=Path(ca) if ca else None))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    group = parser.add_argument_group(
        "Affect", f"--host is the HTTP URL (default: {DEFAULT_URL}); a key is taken from ${KEY_VARIABLE}"
    )
    group.add_argument("--grpc", default=DEFAULT_ADDRESS, metavar="URL", help="gRPC address (default: %(default)s)")
    group.add_argument("--pictures", default="", metavar="DIR", help="pictures to send (default: drawn faces)")
    group.add_argument("--kind", choices=[*Kind], default=str(Kind.STEPS), help="of the load (default: %(default)s)")
    group.add_argument(
        "--rate", type=positive_number, default=20.0, help="requests/s to begin with (default: %(default)g)"
    )
    group.add_argument("--seconds", type=seconds, default=15.0, help="of a step, or of a soak (default: %(default)g)")
    group.add_argument("--p95-ms", type=positive_number, default=250.0, help="the target (default: %(default)g)")
    group.add_argument("--batch", type=whole_number(1), default=8, help="pictures of a batch (default: %(default)s)")
    group.add_argument("--ca", default="", metavar="FILE", help="PEM of the authorities that may vouch for the gateway")
    group.add_argument(
        "--out", default="load", metavar="DIR", help="for load.html and load.json (default: %(default)s)"
    )


def options(parsed: argparse.Namespace) -> Options:
    """What was given."""
    return Options(
        grpc=parsed.grpc,
        pictures=parsed.pictures,
        kind=Kind(parsed.kind),
        rate=parsed.rate,
        seconds=parsed.seconds,
        target=Target(parsed.p95_ms),
        batch=parsed.batch,
        ca=parsed.ca,
        out=Path(parsed.out),
    )
