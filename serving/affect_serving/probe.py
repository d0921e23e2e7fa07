"""``python -m affect_serving.probe [PATH]``: a health probe for containers without a shell or curl.

It asks the gateway in the same container. Since it runs every few seconds, it imports little more than the standard
library, and reads no settings but the port and TLS.
"""

import http.client
import os
import ssl
import sys
from collections.abc import Sequence
from typing import Final

from affect_contract.commands import CommandParser

_READINESS: Final = "/readyz"
_PORT: Final = "8080"
_TIMEOUT_S: Final = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Send the request, print the answer, and return the exit status: 0 for HTTP 200, 1 for anything else."""
    path = _parser().parse_args(arguments).path
    connection = _connection(int(os.environ.get("AFFECT_HTTP_PORT", _PORT)))
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        print(f"{path}: {response.status} {response.read().decode(errors='replace')}")  # noqa: T201
    except (OSError, http.client.HTTPException) as exc:
        print(f"{path}: no answer ({exc})")  # noqa: T201
        return 1
    finally:
        connection.close()
    return 0 if response.status == http.HTTPStatus.OK else 1


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m affect_serving.probe",
        description="Ask the gateway in this container for its state, without a shell or curl. The exit status is 0 if "
        "it answers with 200, else 1.",
        notes="The gateway's port is taken from AFFECT_HTTP_PORT, 8080 if that is not set.",
        examples=("python -m affect_serving.probe", "python -m affect_serving.probe /livez"),
    )
    parser.add_argument(
        "path", nargs="?", default=_READINESS, metavar="PATH", help="path to ask for (default: %(default)s)"
    )
    return parser


def _connection(port: int) -> http.client.HTTPConnection:
    """Return a connection to this container, without verifying the certificate, which names another host."""
    if not os.environ.get("AFFECT_TLS_CERT"):
        return http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=_TIMEOUT_S, context=unverified)


if __name__ == "__main__":
    sys.exit(main())
