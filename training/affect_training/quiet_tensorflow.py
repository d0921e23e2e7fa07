"""TensorFlow's start-up notes kept from the terminal, where they would bury what matters."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextmanager
def quiet_start() -> Iterator[None]:
    """Import TensorFlow inside: what its C++ code writes then is shown only if the import fails.

    A user who sets ``TF_CPP_MIN_LOG_LEVEL`` gets what that says.
    """
    if _LEVEL in os.environ:
        yield
        return
    os.environ[_LEVEL] = "2"
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        # The notes go past Python's sys.stderr, so the file descriptor itself has to be turned away.
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(terminal, notes.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
