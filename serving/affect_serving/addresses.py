"""Hosts as URLs and gRPC targets have them."""


def url_host(host: str) -> str:
    """A host with the brackets that an IPv6 address needs before a port."""
    return f"[{host}]" if ":" in host else host
