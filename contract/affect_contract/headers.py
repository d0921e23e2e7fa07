"""The names of the HTTP headers and gRPC metadata of requests and answers."""

from typing import Final

REQUEST_ID_HEADER: Final = "X-Request-Id"
"""The request's id, taken from the caller or generated, and always returned. gRPC callers send it in lower case."""
TIMEOUT_HEADER: Final = "Affect-Timeout-Ms"
"""Milliseconds that a caller of the HTTP API is willing to wait; gRPC has deadlines of its own."""
LONGEST_TIMEOUT_MS: Final = 24 * 60 * 60 * 1000
"""The largest value of that header: a day."""

CODE_METADATA: Final = "affect-code"
"""Trailing metadata with the error's code, since several codes share one gRPC status."""
REQUEST_ID_METADATA: Final = "affect-request-id"
"""Trailing metadata with the request's id."""
RETRY_AFTER_METADATA: Final = "affect-retry-after-ms"
"""Trailing metadata of a temporary error: milliseconds before the same request is worth sending again."""
