"""What locust makes of a command line of the load tests: its own parser, with their options added."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from tests.conftest import ROOT

_PARSE = """
import json, sys
import locustfile
from locust.argument_parser import get_parser
print(json.dumps(vars(get_parser(default_config_files=[]).parse_args(sys.argv[1:]))))
"""


def locust_options(words: Sequence[str]) -> argparse.Namespace:
    """Parse what follows ``locust``; fails on a word or a value that it does not know.

    In a process of its own, since locust makes the one that imports it over for gevent.
    """
    folder = ROOT / "client/load"
    done = subprocess.run(
        [sys.executable, "-c", _PARSE, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return argparse.Namespace(**json.loads(done.stdout))
