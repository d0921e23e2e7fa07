"""``affect-train`` for tests that need some trained network: every pretrained backbone is built as the tiny one.

    python -m affect_testbed.quick_training --data DIR --models DIR ...

Names, models, scaling and all that is published are those of the backbones; only their layers are few.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from affect_testbed.tiny_backbone import tiny_network
from affect_training.__main__ import main
from affect_training.quiet_tensorflow import quiet_start


@contextmanager
def tiny_networks() -> Iterator[None]:
    """Build every pretrained backbone as the tiny one for a while."""
    with quiet_start():
        from affect_training.networks.backbones import CONSTRUCTIONS, Pretrained  # noqa: PLC0415 - TensorFlow's notes

    before = dict(CONSTRUCTIONS)
    for name, construction in before.items():
        if isinstance(construction, Pretrained):
            CONSTRUCTIONS[name] = replace(construction, application=tiny_network)
    try:
        yield
    finally:
        CONSTRUCTIONS.update(before)


if __name__ == "__main__":
    with tiny_networks():
        sys.exit(main())
