"""Publishes on the small file system FOLDER with 0 to PAGES - 1 pages left, and prints each outcome as JSON.

python -m tests.faults.full_disk FOLDER PAGES
"""

import json
import mmap
import shutil
import sys
from pathlib import Path

from affect_contract.versions import STABLE
from affect_registry import store
from affect_registry.publication import publish
from tests.tfserving.gateways import FUSED


def staged(folder: Path) -> dict[str, Path]:
    """Make a directory that passes for a SavedModel."""
    directory = folder / ".staged" / FUSED.name
    directory.mkdir(parents=True)
    (directory / store.SAVED_MODEL_FILE).write_bytes(b"graph" * 1_000)
    return {FUSED.name: directory}


def outcome_of_publish(folder: Path, pages: int) -> dict[str, object]:
    """Publish with that many pages left on the file system, and return the outcome."""
    root = folder / "models"
    root.mkdir()
    publish(root, staged(root))
    shutil.rmtree(root / ".staged")
    new = staged(root)
    filler = folder / "filler"
    _fill(filler, pages)
    failure = ""
    try:
        publish(root, new)
    except store.StoreError as exc:
        failure = str(exc)
    (entry,) = store.read(root).values()
    incomplete = [
        version
        for version in entry.versions
        if not (entry.directory(root) / str(version) / store.SAVED_MODEL_FILE).is_file()
    ]
    filler.unlink()
    shutil.rmtree(root / ".staged")
    again = publish(root, staged(root), promote=True, reload_wait_s=0)
    (served,) = store.read(root).values()
    outcome = {
        "failure": failure,
        "stable": entry.labels[STABLE],
        "incomplete": incomplete,
        "again": served.labels[STABLE] == again,
    }
    shutil.rmtree(root)
    return outcome


def _fill(filler: Path, pages: int) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(mmap.PAGESIZE))
        except OSError:
            file.truncate(file.tell() - file.tell() % mmap.PAGESIZE - pages * mmap.PAGESIZE)


if __name__ == "__main__":
    for pages in range(int(sys.argv[2])):
        print(json.dumps(outcome_of_publish(Path(sys.argv[1]), pages)))
