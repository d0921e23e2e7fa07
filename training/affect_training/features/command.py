"""``affect-train features``: fill the cache of features, or a part of it."""

import argparse
from collections.abc import Callable

from affect_dataset.shards import add_shard_argument
from affect_training.arguments import add_basis_arguments, basis
from affect_training.quiet_tensorflow import quiet_start


def parser() -> argparse.ArgumentParser:
    """Of the command's arguments."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="affect-train features",
        description="Compute the features that a training with the same data, backbones, weights and cache would.",
        epilog="The same command goes on where an interrupted one stopped. Parts may run at a time, on any number of "
        "machines that share the cache; affect-train then finds all features there.",
    )
    add_basis_arguments(parser)
    add_shard_argument(parser, "compute this part alone")
    return parser


def run(options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Run the command.

    Raises:
        TrainingError, DatasetError: what keeps it from its end.
    """
    with quiet_start():
        from affect_training.features import job  # noqa: PLC0415 - TensorFlow takes seconds, a wrong flag should not

    for one in job.run(job.FeatureOrder(**basis(options), shard=options.shard), say):
        known = one.pictures - one.computed
        say(
            f"{one.backbone}: features of {one.computed:,} pictures computed, of {known:,} known already; "
            f"part {options.shard}, in {options.cache}"
        )
