"""Look up known vulnerabilities of the packages that a requirements file pins.

If the database cannot be reached, as in a build without internet, a warning says so; it is an error only with
--required. A package that was not looked up never counts as sound.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from affect_contract.commands import CommandParser


class Report(NamedTuple):
    """The known vulnerabilities, and how many packages could be looked up."""

    vulnerable: list[str]
    """One line for each vulnerability."""
    looked_up: int
    not_looked_up: list[str]
    """Names of the packages that were not looked up."""


def report(document: dict[str, Any]) -> Report:
    """Read pip-audit's JSON document."""
    packages = document["dependencies"]
    return Report(
        [
            f"{package['name']} {package['version']}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'none'}"
            for package in packages
            for one in package.get("vulns", ())
        ],
        sum("skip_reason" not in package for package in packages),
        [package["name"] for package in packages if "skip_reason" in package],
    )


def print_report(found: Report, *, required: bool) -> int:
    """Print a report, and return the exit status."""
    for line in found.vulnerable:
        print(f"audit: {line}", file=sys.stderr)
    if found.not_looked_up:
        print(
            f"audit: NOT AUDITED: {len(found.not_looked_up)} of {len(found.not_looked_up) + found.looked_up} packages "
            "are not in the database of vulnerabilities, or it cannot be asked from here",
            file=sys.stderr,
        )
    if found.vulnerable or (required and found.not_looked_up):
        return 1
    if found.looked_up:
        print(f"audit: {found.looked_up} packages looked up, no vulnerability known")
    return 0


def main() -> int:
    """Run pip-audit, print its report, and return the exit status."""
    options = _parser().parse_args()
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--no-deps",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run([*command, "-r", options.requirements], capture_output=True, text=True, check=False)
    try:
        found = report(json.loads(done.stdout))
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1]
        print(f"audit: NOT AUDITED: {last}", file=sys.stderr)
        return int(options.required)
    return print_report(found, required=options.required)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python scripts/audit.py",
        description="Look up the packages that a requirements file pins in a database of known vulnerabilities.",
        notes="Exit status: 1 if a package is vulnerable, or was not looked up although --required is given.",
        examples=("python scripts/audit.py", "python scripts/audit.py requirements/gateway.txt --required"),
    )
    parser.add_argument(
        "requirements",
        type=Path,
        nargs="?",
        default=Path("requirements/dev.txt"),
        metavar="FILE",
        help="requirements file (default: %(default)s)",
    )
    parser.add_argument("--required", action="store_true", help="fail if a package cannot be looked up")
    return parser


if __name__ == "__main__":
    sys.exit(main())
