"""This machine's own addresses, before which no proxy of the environment stands."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address, is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
