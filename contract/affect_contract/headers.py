"""Names of the HTTP headers and gRPC metadata that travel with a request and its answer."""

from typing import Final

REQUEST_ID_HEADER: Final = "X-Request-Id"
"""Taken from the request or made, always returned; in gRPC metadata, in lower case, it is taken alike."""
TIMEOUT_HEADER: Final = "Affect-Timeout-Ms"
"""Milliseconds that the caller of the HTTP API waits; gRPC has deadlines of its own."""
LONGEST_TIMEOUT_MS: Final = 24 * 60 * 60 * 1000
"""The most that the header may say: a day."""

CODE_METADATA: Final = "affect-code"
"""Trailing metadata: the error's code, since several share one gRPC status."""
REQUEST_ID_METADATA: Final = "affect-request-id"
"""Trailing metadata: the request's id."""
RETRY_AFTER_METADATA: Final = "affect-retry-after-ms"
"""Trailing metadata of an error that passes: milliseconds before the same request is worth sending again."""
