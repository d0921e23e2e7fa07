"""Recognise addresses of this machine, to which connections must not go through a proxy."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address is a loopback address of this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
