"""Read the memory and the open files of the gateway's process from its /metrics."""

import re
import ssl
import urllib.request
from typing import Final, NamedTuple

_TIMEOUT_S: Final = 5.0


class ProcessResources(NamedTuple):
    """The resources that a process holds at one moment."""

    resident_bytes: float
    open_files: float


def read_process_resources(url: str, ca: str = "") -> ProcessResources | None:
    """Return the resources of the gateway at ``url``; None if its /metrics is hidden, as behind an ingress.

    Args:
        url: the gateway's HTTP URL.
        ca: PEM file of the certificate authorities to trust; the public ones, if empty.
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
        return ProcessResources(float(found["resident_memory_bytes"]), float(found["open_fds"]))
    except KeyError:
        return None
