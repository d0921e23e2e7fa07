"""`affect-serve` over a backend that does as the first two arguments say: seconds to start, seconds for an answer."""

import asyncio
import sys

from affect_serving import __main__ as command
from tests.gateway import FakeBackend


class ToldBackend(FakeBackend):
    def __init__(self, start_s: float, delay_s: float) -> None:
        super().__init__()
        self.start_s, self.delay_s = start_s, delay_s

    async def start(self) -> None:
        print("starting", flush=True)
        await asyncio.sleep(self.start_s)


if __name__ == "__main__":
    start_s, delay_s = map(float, sys.argv[1:3])
    command.create_backend = lambda settings: ToldBackend(start_s, delay_s)  # type: ignore[assignment]
    sys.exit(command.main(["--models", "unused", "--http-port", "0", "--grpc-port", "0", *sys.argv[3:]]))
