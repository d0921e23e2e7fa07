"""Judge a load: the service passed, failed, or nothing is known because the generator was the bottleneck."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from affect_load.process_resources import ProcessResources
from affect_load.request_counts import Counts
from affect_load.stages import RATE_PER_USER, LoadKind, Measured, Target, user_bounds

_MEMORY_GROWTH: Final = 0.02


class LoadOutcome(IntEnum):
    """The outcome of a load, whose value is the exit status."""

    PASSED = 0
    FAILED = 1
    VOID = 3


@dataclass(frozen=True)
class Verdict:
    """The outcome of a load, and its reasons."""

    outcome: LoadOutcome
    reasons: tuple[str, ...]
    highest_rate: float | None = None
    """The highest rate in requests per second that met the target; for steps only."""


def judge(
    kind: LoadKind, measured: Sequence[Measured], target: Target, total: Counts, errors: Mapping[str, int]
) -> Verdict:
    """Judge a load.

    Args:
        kind: the kind of load.
        measured: its stages.
        target: the target by which the service is judged.
        total: the counts since the first request.
        errors: the number of occurrences by error.
    """
    refusals = (f"{total.refused:,} of {total.sent:,} requests were refused as too many (429), which are not errors",)
    if not total.sent:
        return Verdict(LoadOutcome.FAILED, ("no request came back: is the service there?",))
    if total.errors:
        often = max(errors, key=errors.__getitem__, default="unknown")
        return Verdict(
            LoadOutcome.FAILED, (f"{total.errors:,} of {total.sent:,} requests failed, most often: {often}", *refusals)
        )
    if not measured:
        return Verdict(LoadOutcome.VOID, ("it ended before anything was measured", *refusals))
    if kind is LoadKind.STEPS:
        return _of_steps(measured, target, refusals)
    verdict = _of_stages(measured, target, refusals)
    return _of_memory(measured, verdict) if kind is LoadKind.SOAK and verdict.outcome is LoadOutcome.PASSED else verdict


def _of_steps(measured: Sequence[Measured], target: Target, refusals: tuple[str, ...]) -> Verdict:
    most_users, missed = user_bounds(measured, target)
    best = most_users and most_users * RATE_PER_USER
    limited = [one for one in measured if one.stage.users == missed and one.generator.is_bottleneck(target.p95_ms)]
    if limited:
        found = f"{best:.0f}/s met the target" if best else "no rate met the target"
        return Verdict(LoadOutcome.VOID, (_limited(limited[0]), found, *refusals), best)
    if best is None:
        return Verdict(LoadOutcome.FAILED, (f"no rate met p95 within {target.p95_ms:g} ms", *refusals))
    least = "" if missed else "at least "
    reason = f"{least}{best:.0f} requests/s with p95 within {target.p95_ms:g} ms"
    return Verdict(LoadOutcome.PASSED, (reason, *refusals), best)


def _of_stages(measured: Sequence[Measured], target: Target, refusals: tuple[str, ...]) -> Verdict:
    missed = [one for one in measured if one.stage.judged and not one.meets(target)]
    if not missed:
        return Verdict(LoadOutcome.PASSED, (f"every stage met p95 within {target.p95_ms:g} ms", *refusals))
    limited = next((one for one in missed if one.generator.is_bottleneck(target.p95_ms)), None)
    if limited:
        return Verdict(LoadOutcome.VOID, (_limited(limited), *refusals))
    return Verdict(LoadOutcome.FAILED, (_missed(missed[0], target), *refusals))


def _of_memory(measured: Sequence[Measured], verdict: Verdict) -> Verdict:
    """Compare memory and open files in the last quarter of a soak with the second quarter, when caches were warm."""
    resources = [one.resources for one in measured if one.resources]
    if len(resources) < len(measured):
        return Verdict(LoadOutcome.VOID, ("the gateway's memory is unknown: a soak needs its /metrics",))
    quarter = len(resources) // 4
    warm, end = _median(resources[quarter : 2 * quarter]), _median(resources[-quarter:])
    growth = end.resident_bytes / warm.resident_bytes - 1
    reasons = (
        f"resident memory {warm.resident_bytes / 2**20:.1f} MB when warm, {end.resident_bytes / 2**20:.1f} MB at the "
        f"end ({growth:+.1%})",
        f"{warm.open_files:.0f} open files when warm, {end.open_files:.0f} at the end",
    )
    grew = growth >= _MEMORY_GROWTH or end.open_files > warm.open_files
    outcome = LoadOutcome.FAILED if grew else LoadOutcome.PASSED
    return Verdict(outcome, (*reasons, *verdict.reasons))


def _median(resources: Sequence[ProcessResources]) -> ProcessResources:
    return ProcessResources(*map(statistics.median, zip(*resources, strict=True)))


def _limited(one: Measured) -> str:
    return (
        f"the generator was the bottleneck at {one.stage.rate:.0f}/s ({one.generator.cpu_share:.0%} of a core, "
        f"{one.generator.late_ms:.0f} ms late): give it a machine of its own, or more processes"
    )


def _missed(one: Measured, target: Target) -> str:
    p95 = "no answer" if one.p95_ms is None else f"p95 {one.p95_ms:.0f} ms"
    return (
        f"{one.stage.rate:.0f}/s missed p95 within {target.p95_ms:g} ms: {p95}, {one.answered_per_s:.0f}/s answered, "
        f"{one.counts.refused_share:.1%} refused"
    )
