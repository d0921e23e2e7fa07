"""The base class of all users: it paces their requests, and gives them pictures and credentials."""

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
    """A user that sends requests at a steady pace, with a random offset so that users do not send in step."""

    abstract = True
    wait_time = constant_throughput(RATE_PER_USER)

    def __init__(self, environment: Environment) -> None:
        self.options: Options = options(environment.parsed_options)
        self.credentials = read_credentials(self.options.ca)
        super().__init__(environment)

    def on_start(self) -> None:
        """Choose the first picture, and wait for a random part of the period."""
        self.pictures: Iterator[bytes] = _from_random_start(self.options.pictures)
        gevent.sleep(random.uniform(0, PERIOD_S))  # noqa: S311 - no secret


def _from_random_start(folder: str) -> Iterator[bytes]:
    loaded = _loaded(folder)
    return islice(cycle(loaded), random.randrange(len(loaded)), None)  # noqa: S311


@cache
def _loaded(folder: str) -> list[bytes]:
    return pictures(folder)
