"""`affect-serve` over a backend that does as the first two arguments say: seconds to start, seconds for an answer."""

import asyncio
import sys
from unittest.mock import patch

from affect_serving.__main__ import main
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
    with patch("affect_serving.__main__.create_backend", lambda settings: ToldBackend(start_s, delay_s)):
        sys.exit(main(["--models", "unused", "--http-port", "0", "--grpc-port", "0", *sys.argv[3:]]))
