"""``affect-train features``: fill the cache of features, or a part of it."""

import argparse
from collections.abc import Callable

from affect_contract.commands import CommandParser
from affect_dataset.shards import add_shard_argument
from affect_training.arguments import add_basis_arguments, basis
from affect_training.quiet_tensorflow import quiet_start


def parser() -> CommandParser:
    """Return the parser of the command's arguments."""
    parser = CommandParser(
        prog="affect-train features",
        description="Compute the features that affect-train will need, and keep them in the cache.",
        notes="An interrupted command goes on where it stopped when it is run again. With --shard, each of several "
        "machines that share the cache computes a part. affect-train finds all features there if it is given the same "
        "data, backbones, weights, seed and cache.",
        examples=(
            "affect-train features --data faces --cache cache",
            "affect-train features --data faces --cache cache --backbones mobilenet_v2 --shard 1/4",
        ),
    )
    add_basis_arguments(parser)
    add_shard_argument(parser, "compute the features of one part of the pictures only")
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
