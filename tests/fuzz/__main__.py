"""Coverage-guided fuzzing of one reader, or of each in turn, for some time.

What atheris finds in the way is kept for the next run in .fuzz/; what breaks a reader is written there as crash-*, and
belongs into tests/corpus/ with its repair.
"""

import subprocess
import sys
from pathlib import Path

from affect_contract.arguments import whole_number
from affect_contract.commands import CommandParser
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / ".fuzz"
MOST_BYTES = 65_536
HANG_S = 5
MOST_MB = 2_048


def main() -> int:
    """Run the command."""
    parser = _parser()
    options = parser.parse_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}: take {', '.join(TARGETS)}")
    try:
        import atheris  # noqa: F401, PLC0415
    except ImportError:
        print("atheris is not installed (pip install '.[fuzz]'): no coverage-guided fuzzing", file=sys.stderr)
        return 2
    return max(_fuzz(name, options.seconds) for name in options.targets or TARGETS)


def _fuzz(name: str, seconds: int) -> int:
    """In a process of its own, since libFuzzer ends the one it runs in."""
    target, found = TARGETS[name], FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-c", _RUN, name, f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}"]
    words += [f"-timeout={HANG_S}", f"-rss_limit_mb={MOST_MB}", f"-artifact_prefix={found}/", "-verbosity=0"]
    words += ["-print_final_stats=1", str(found), str(ROOT / "tests/corpus" / target.corpus)]
    print(f"{name}: {seconds} s", flush=True)
    return subprocess.run(words, cwd=ROOT, check=False).returncode


_RUN = """
import sys
import atheris
readers = ["affect_contract", "affect_dataset", "affect_serving.http.picture_bodies", "python_multipart", "PIL"]
with atheris.instrument_imports(include=readers):
    from tests.fuzz.targets import TARGETS
ask = TARGETS[sys.argv.pop(1)].ask
atheris.Setup(sys.argv, ask)
atheris.Fuzz()
"""


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m tests.fuzz",
        description="Fuzz the readers of bytes from outside, guided by coverage.",
        examples=("python -m tests.fuzz --seconds 60",),
    )
    parser.add_argument(
        "targets", nargs="*", metavar="NAME", help=f"readers to fuzz, of {', '.join(TARGETS)} (default: all)"
    )
    parser.add_argument(
        "--seconds",
        type=whole_number(1),
        default=60,
        metavar="SECONDS",
        help="whole seconds for each reader (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
