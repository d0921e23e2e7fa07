"""What every user does alike: its pace, its pictures, its key."""

import random
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from typing import Final

import gevent
from locust import User, constant_throughput
from locust.env import Environment

from affect_load.options import Options, options, read_credentials
from affect_load.pictures import pictures
from affect_load.stages import RATE_PER_USER

PERIOD_S: Final = 1 / RATE_PER_USER


class PacedUser(User):  # type: ignore[misc]
    """Asks at a steady pace, that begins anywhere in its period, so that users who appear together do not ask so."""

    abstract = True
    wait_time = constant_throughput(RATE_PER_USER)

    def __init__(self, environment: Environment) -> None:
        self.options: Options = options(environment.parsed_options)
        self.credentials = read_credentials(self.options.ca)
        super().__init__(environment)

    def on_start(self) -> None:
        """Wait for its place in the period."""
        self.pictures: Iterator[bytes] = _from_anywhere(self.options.pictures)
        gevent.sleep(random.uniform(0, PERIOD_S))  # noqa: S311 - no secret


def _from_anywhere(folder: str) -> Iterator[bytes]:
    several = _loaded(folder)
    return islice(cycle(several), random.randrange(len(several)), None)  # noqa: S311


@cache
def _loaded(folder: str) -> list[bytes]:
    return pictures(folder)
