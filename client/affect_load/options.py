"""Options of a load, added to locust's own command line; plain values, since locust sends them to its workers."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from affect_client.credentials import KEY_VARIABLE, Credentials
from affect_client.credentials import read_credentials as read_client_credentials
from affect_client.http.client import DEFAULT_URL
from affect_client.rpc.client import DEFAULT_ADDRESS
from affect_contract.arguments import positive_number, seconds, whole_number
from affect_load.stages import LoadKind, Plan, Target, plan

TIMEOUT_S: Final = 10.0
DEFAULT_RATE: Final = 20.0
"""Default of ``--rate``, in requests per second."""


@dataclass(frozen=True)
class Options:
    """The options of a load, parsed."""

    grpc: str
    pictures: str
    kind: LoadKind
    rate: float
    seconds: float
    target: Target
    batch: int
    ca: str
    out: Path

    @property
    def plan(self) -> Plan:
        """The stages of the load."""
        return plan(self.kind, self.rate, self.seconds, self.target)


def read_credentials(ca: str) -> Credentials:
    """Read the API key from the environment, and the certificates from the file ``ca`` unless it is empty.

    Raises:
        CredentialsError: one of them cannot be used.
    """
    return read_client_credentials(argparse.Namespace(api_key_file=None, ca=Path(ca) if ca else None))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare our options in a group of locust's own parser."""
    group = parser.add_argument_group(
        "Affect",
        f"--host is the gateway's HTTP address (default: {DEFAULT_URL}). An API key is taken from the variable "
        f"{KEY_VARIABLE}.",
    )
    group.add_argument(
        "--grpc", default=DEFAULT_ADDRESS, metavar="URL", help="the gateway's gRPC address (default: %(default)s)"
    )
    group.add_argument(
        "--pictures", default="", metavar="DIR", help="folder of pictures to send (default: synthetic faces)"
    )
    group.add_argument(
        "--kind",
        choices=[*LoadKind],
        default=str(LoadKind.STEPS),
        help="steps raises the rate until the target is missed, spike multiplies it by four for a while, soak holds it "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--rate",
        type=positive_number,
        default=DEFAULT_RATE,
        metavar="NUMBER",
        help="requests per second to begin with, or to hold in a soak (default: %(default)g)",
    )
    group.add_argument(
        "--seconds",
        type=seconds,
        default=15.0,
        metavar="SECONDS",
        help="how long each step, each of a spike's three stages, or the whole soak lasts (default: %(default)g)",
    )
    group.add_argument(
        "--p95-ms",
        type=positive_number,
        default=250.0,
        metavar="MILLISECONDS",
        help="target: 95 %% of the answers must come within this time (default: %(default)g)",
    )
    group.add_argument(
        "--batch",
        type=whole_number(1),
        default=8,
        metavar="N",
        help="pictures in a batch (default: %(default)s)",
    )
    group.add_argument(
        "--ca",
        default="",
        metavar="FILE",
        help="PEM file of the authorities to trust for the gateway's certificate (default: the public ones)",
    )
    group.add_argument(
        "--out",
        default="load",
        metavar="DIR",
        help="folder for the report, load.html and load.json (default: %(default)s)",
    )


def options(parsed: argparse.Namespace) -> Options:
    """Convert what locust's parser returns."""
    return Options(
        grpc=parsed.grpc,
        pictures=parsed.pictures,
        kind=LoadKind(parsed.kind),
        rate=parsed.rate,
        seconds=parsed.seconds,
        target=Target(parsed.p95_ms),
        batch=parsed.batch,
        ca=parsed.ca,
        out=Path(parsed.out),
    )
