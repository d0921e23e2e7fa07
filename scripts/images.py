"""``make images``: build every image, print its size, and try each one on synthetic faces.

Environment: BASE_IMAGE and TRAIN_BASE_IMAGE, to build on others than the Dockerfiles', or with buildah than on a Debian
made for it; PIP_INDEX_URL, PIP_TRUSTED_HOST and PIP_CERT, for another package index; PIP_CONF, a pip.conf for one that
asks for a password.
"""

import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from scripts.image_builders import ROOT, Builder, BuildError, find_builder
from scripts.image_trials import TRIALS, TrialError

from affect_contract.commands import CommandParser

_PASSED_ON: Final = ("PIP_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CERT")
_MB: Final = 1_000_000


class Image(NamedTuple):
    """An image: its Dockerfile, and the MB that it may add to its base."""

    name: str
    dockerfile: str
    max_mb: int | None = None

    @property
    def target(self) -> str:
        """Name of the image's stage in the Dockerfile."""
        return self.name.removeprefix("affect-")


IMAGES: Final = (
    Image("affect-gateway", "Dockerfile.serve", 200),
    Image("affect-embedded", "Dockerfile.serve", 400),
    Image("affect-tools", "Dockerfile.serve"),
    Image("affect-train", "Dockerfile.train"),
)


def main() -> int:
    """Build, measure and try the images; return the exit status."""
    options = _parser().parse_args()
    builder = find_builder()
    if builder is None:
        print("images: skipped: neither a Docker daemon nor buildah is here (apt-get install buildah debootstrap)")
        return 0
    try:
        _print_table(("image", "built in", "size", "on top of its base", "at most"), _build_all(builder))
        if not options.build_only:
            _print_table(("image", "what it did", "time"), _try_all(builder))
    except (BuildError, TrialError) as exc:
        print(f"images: {exc}", file=sys.stderr)
        return 1
    return 0


def _build_all(builder: Builder) -> list[Sequence[str]]:
    base = builder.base()
    rows: list[Sequence[str]] = []
    for image in IMAGES:
        image_base = base
        if image.target == "train":
            image_base = os.environ.get("TRAIN_BASE_IMAGE") or base
        took = _build(builder, image, image_base)
        size = builder.size(image.name)
        added = size - builder.size(image_base or default_base(image.dockerfile))
        limit = f"{image.max_mb} MB" if image.max_mb else "-"
        if image.max_mb and added > image.max_mb * _MB:
            raise BuildError(f"{image.name} adds {added / _MB:.0f} MB to its base, more than {limit}")
        rows.append((image.name, f"{took:.0f} s", f"{size / _MB:,.0f} MB", f"{added / _MB:,.0f} MB", limit))
    return rows


def _build(builder: Builder, image: Image, base: str | None) -> float:
    """Build one image, and return the seconds that it took."""
    print(f"images: building {image.name}", flush=True)
    arguments = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    if base:
        arguments["BASE_IMAGE"] = base
    started = time.perf_counter()
    builder.build(image.name, image.dockerfile, image.target, arguments)
    return time.perf_counter() - started


def default_base(dockerfile: str) -> str:
    """Return the base image that a Dockerfile names."""
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / dockerfile).read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{dockerfile} names no BASE_IMAGE")
    return found[1]


def _try_all(builder: Builder) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # The images' user is another one than the user who runs this.
        Path(folder).chmod(0o755)
        for image, title, trial in TRIALS:
            print(f"images: {image}: {title}", flush=True)
            started = time.perf_counter()
            result = trial(builder, Path(folder))
            rows.append((image, title, result or f"{time.perf_counter() - started:.1f} s"))
    return rows


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    print()
    for row in (header, ["-" * width for width in widths], *rows):
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print(flush=True)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m scripts.images",
        description="Build every container image, measure its size, and try it on synthetic faces.",
        examples=("python -m scripts.images", "python -m scripts.images --build-only"),
    )
    parser.add_argument("--build-only", action="store_true", help="build and measure the images, but do not try them")
    return parser


if __name__ == "__main__":
    sys.exit(main())
