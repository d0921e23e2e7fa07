"""How many processors this process may really use, and which of its threads go first."""

import math
import os
import threading
from pathlib import Path

_WORKERS_NICENESS = 5
_CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = _CGROUP) -> int:
    """Processors by affinity, or fewer where a container's quota allows less; at least 1.

    Args:
        cgroup: the control group file system of the process, version 2 or 1.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_v2(cgroup / "cpu.max") or _quota_v1(cgroup / "cpu")
    return max(1, min(allowed, math.ceil(quota))) if quota else allowed


def give_way() -> None:
    """Let this thread, and those that it starts, run behind the one that answers requests, where Linux lets threads.

    Decoding and inference fill the processors; what refuses a request, or says that the gateway lives, takes next to
    nothing, and must not wait for them.
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
