"""The processors that this process may use, and the priority of its threads on them."""

import math
import os
import threading
from pathlib import Path

_WORKERS_NICENESS = 5
_CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = _CGROUP) -> int:
    """Return the number of processors by affinity, or by the container's quota where that is smaller; at least 1.

    Args:
        cgroup: the mount point of the process's control group file system, version 2 or 1.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_v2(cgroup / "cpu.max") or _quota_v1(cgroup / "cpu")
    return max(1, min(allowed, math.ceil(quota))) if quota else allowed


def lower_thread_priority() -> None:
    """Give this thread, and those that it starts, a lower priority than the event loop's thread, on Linux.

    Decoding and inference fill the processors. Refusing a request and answering a liveness probe take next to no time
    and must not wait for them.
    """
    if threading.current_thread() is not threading.main_thread() and hasattr(os, "sched_getaffinity"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(_WORKERS_NICENESS, os.nice(0)))


def _quota_v2(file: Path) -> float | None:
    if not file.is_file():
        return None
    quota, period = file.read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    files = folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"
    if not all(file.is_file() for file in files):
        return None
    quota, period = (int(file.read_text()) for file in files)
    return quota / period if quota > 0 else None
