"""`affect-serve`, which prints the number of its asyncio tasks on SIGUSR1."""

import asyncio
import signal
import sys

from affect_serving.__main__ import main


def print_task_count(number, frame):
    print(f"tasks {len(asyncio.all_tasks())}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, print_task_count)
    sys.exit(main())
