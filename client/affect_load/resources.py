"""What the gateway's process holds, by its own /metrics."""

import re
import ssl
import urllib.request
from typing import Final, NamedTuple

_TIMEOUT_S: Final = 5.0


class Held(NamedTuple):
    """At one moment."""

    resident_bytes: float
    open_files: float


def held(url: str, ca: str = "") -> Held | None:
    """What the gateway at ``url`` holds; None where it does not say, as behind an ingress that hides its metrics.

    Args:
        url: its HTTP URL.
        ca: PEM file of the authorities that may vouch for it; the usual ones, if empty.
    """
    context = ssl.create_default_context(cafile=ca or None)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(f"{url.rstrip('/')}/metrics", timeout=_TIMEOUT_S) as response:
            text = response.read().decode()
    except OSError:
        return None
    found = dict(re.findall(r"^process_(resident_memory_bytes|open_fds) (\S+)$", text, re.MULTILINE))
    try:
        return Held(float(found["resident_memory_bytes"]), float(found["open_fds"]))
    except KeyError:
        return None
