"""Models directories of versions that have signatures and nothing else, which is all that files are judged by."""

from pathlib import Path, PurePosixPath

from tensorflow.core.protobuf import saved_model_pb2

from affect_contract.models import MODELS
from affect_registry import store
from affect_registry.model_server_settings import write_missing_files
from affect_registry.store import Entry
from affect_testbed.model_server.made_up_models import signature

NAME = "mobilenet_v2_affect"
OTHER = "densenet121_affect"


def write_version(root: Path, name: str, number: int) -> Path:
    """A version directory as the contract wants it."""
    directory = root / name / str(number)
    directory.mkdir(parents=True)
    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    graph = saved.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    graph.signature_def["serving_default"].CopyFrom(signature(MODELS[name]))
    (directory / store.SAVED_MODEL_FILE).write_bytes(saved.SerializeToString())
    return directory


def entry(root: Path, name: str, *versions: int, **labels: int) -> Entry:
    return Entry(name, PurePosixPath(root / name), versions, labels)


def write_models(root: Path, *entries: Entry, on_disk: tuple[int, ...] = (1, 2, 3)) -> None:
    """A models directory that names these entries."""
    for one in entries:
        for number in on_disk:
            if not (root / one.name / str(number)).exists():
                write_version(root, one.name, number)
    write_missing_files(root)
    store.write(root, {one.name: one for one in entries})
