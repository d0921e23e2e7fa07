"""The spelling of hosts in URLs and gRPC targets."""


def url_host(host: str) -> str:
    """Return the host, in brackets if it is an IPv6 address."""
    return f"[{host}]" if ":" in host else host
