"""Write the report of a load: `load.html`, one file that opens offline, and `load.json` with the same figures."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2

from affect_contract.atomic_files import write_atomically
from affect_load.plots import curve
from affect_load.request_counts import Counts
from affect_load.stages import LoadKind, Measured, Target
from affect_load.verdict import Verdict

HTML_FILE: Final = "load.html"
JSON_FILE: Final = "load.json"


class RequestType(NamedTuple):
    """The requests of one type over all stages, such as forms over HTTP."""

    name: str
    counts: Counts


def write_report(
    out: Path,
    kind: LoadKind,
    measured: Sequence[Measured],
    target: Target,
    verdict: Verdict,
    requests: Sequence[RequestType],
) -> None:
    """Write `load.html` and `load.json` to the folder ``out``.

    Raises:
        OSError: a file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "kind": kind,
        "verdict": verdict.outcome.name.lower(),
        "reasons": verdict.reasons,
        "target_p95_ms": target.p95_ms,
        "highest_rate": verdict.highest_rate,
        "stages": [_stage(one, target) for one in measured],
        "requests": [{"name": one.name, **_counts(one.counts)} for one in requests],
    }
    write_atomically(out / JSON_FILE, json.dumps(document, indent=1) + "\n")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("affect_load", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    png = _png(kind, measured, target, verdict) if any(one.counts.answered for one in measured) else None
    write_atomically(out / HTML_FILE, environment.get_template("report.html.j2").render(**document, png=png))


def _stage(one: Measured, target: Target) -> dict[str, Any]:
    return {
        "offered_per_s": one.stage.rate,
        "answered_per_s": one.answered_per_s,
        "seconds": one.seconds,
        "judged": one.stage.judged,
        "met": one.meets(target),
        **_counts(one.counts),
        "generator_cpu_share": one.generator.cpu_share,
        "generator_late_ms": one.generator.late_ms,
        "resident_mb": one.resources and one.resources.resident_bytes / 2**20,
        "open_files": one.resources and one.resources.open_files,
    }


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "answered": counts.answered,
        "errors": counts.errors,
        "refused": counts.refused,
        **{f"p{share * 100:g}_ms": counts.percentile_ms(share) for share in (0.5, 0.95, 0.99)},
    }


def _png(kind: LoadKind, measured: Sequence[Measured], target: Target, verdict: Verdict) -> str:
    buffer = io.BytesIO()
    curve(kind, measured, target, verdict.highest_rate).savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
