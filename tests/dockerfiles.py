"""Dockerfiles taken apart."""

import json
import re
from dataclasses import dataclass
from functools import cache

from tests.conftest import ROOT

NAMES = ("Dockerfile.serve", "Dockerfile.train")


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of one, continued lines joined, in their order."""

    instructions: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """What follows every instruction of a name."""
        return [rest for instruction, rest in self.instructions if instruction == name]

    @property
    def stages(self) -> list[str]:
        """Names of the stages."""
        return [rest.split(" AS ")[1] for rest in self.all("FROM")]

    def stage(self, name: str) -> "Dockerfile":
        """One stage alone."""
        starts = [index for index, (word, _) in enumerate(self.instructions) if word == "FROM"]
        first = starts[self.stages.index(name)]
        after = next((start for start in starts if start > first), None)
        return Dockerfile(self.instructions[first:after])

    @property
    def arguments(self) -> set[str]:
        """Names of the build arguments."""
        return {rest.partition("=")[0] for rest in self.all("ARG")}

    @property
    def default_base(self) -> str:
        """The base image if no other is given."""
        return self.all("ARG")[0].removeprefix("BASE_IMAGE=")

    @property
    def environment(self) -> dict[str, str]:
        """Every variable that is set in some stage."""
        return dict(word.split("=", 1) for rest in self.all("ENV") for word in rest.split())

    def executed(self, name: str) -> list[list[str]]:
        """The exec forms after every ENTRYPOINT, CMD or HEALTHCHECK; fails on a shell form."""
        return [json.loads(rest[rest.index("[") :]) for rest in self.all(name)]


@cache
def dockerfile(name: str) -> Dockerfile:
    """One of the repository's."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return Dockerfile(
        tuple((word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line))
    )
