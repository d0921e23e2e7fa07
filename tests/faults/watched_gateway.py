"""`affect-serve`, which says on SIGUSR1 how many tasks it has."""

import asyncio
import signal
import sys

from affect_serving.__main__ import main


def say(number, frame):
    print(f"tasks {len(asyncio.all_tasks())}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, say)
    sys.exit(main())
