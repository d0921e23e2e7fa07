"""Follow a models directory as TensorFlow Serving does: reread `models.config`, load versions, move labels.

The rules are those of a real server (2.20): a file with one bad entry is refused whole; a label moves only to a version
that is loaded; a version that cannot be loaded stays LOADING while the others serve.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from affect_testbed.model_server.server import AVAILABLE, END, LOADING, ModelEntry, ServedVersion, Signatures

WARMUP = "assets.extra/tf_serving_warmup_requests"


class ConfigRefused(Exception):
    """The config is refused: a starting server stops, a running one keeps the file it had."""


class SavedModel:
    """A version directory whose graph is loaded at the first call."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._functions: Mapping[str, Any] = {}
        content = (directory / "saved_model.pb").read_bytes()
        (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
        self.signatures: Signatures = dict(graph.signature_def)

    def run(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Run one of the signatures with TensorFlow."""
        with self._lock:
            if not self._functions:
                self._loaded = tf.saved_model.load(str(self._directory))
                self._functions = self._loaded.signatures
        outputs = self._functions[signature](**{name: tf.constant(values) for name, values in inputs.items()})
        return {name: values.numpy() for name, values in outputs.items()}


class ModelsDirectory:
    """Keeps a table of models in the state that `models.config` asks for.

    Args:
        config: the path of the file.
        max_batch_size: the largest batch; a larger warm-up record stops the server.
    """

    def __init__(self, config: Path, max_batch_size: int) -> None:
        self._config = config
        self._max_batch_size = max_batch_size
        self._text = ""
        self.models: dict[str, ModelEntry] = {}

    def read(self, *, first: bool = False) -> None:
        """Read the file, and apply it if it has changed.

        Raises:
            ConfigRefused: the file is invalid or, when the server starts, a version in it cannot be loaded.
        """
        text = self._config.read_text()
        if text == self._text:
            return
        try:
            message = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        except text_format.ParseError as exc:
            raise ConfigRefused(f"Invalid protobuf file: {exc}") from exc
        configs = message.model_config_list.config
        self._check_paths(configs)
        if not first:
            self._check_labels(configs)
        self._text = text
        for config in configs:
            self._load(config, first=first)
        for config in configs:
            served = self.models[config.name]
            served.labels = dict(config.version_labels)
            for number in set(served.versions) - set(config.model_version_policy.specific.versions):
                served.versions[number] = ServedVersion(END)
        for name in set(self.models) - {config.name for config in configs}:
            del self.models[name]

    def _check_paths(self, configs: Any) -> None:
        for config in configs:
            if not config.base_path.startswith("/"):
                raise ConfigRefused(
                    f"Expected model {config.name} to have an absolute path; got base_path={config.base_path}"
                )

    def _check_labels(self, configs: Any) -> None:
        for config in configs:
            versions = self.models.get(config.name, ModelEntry()).versions
            known = self.models.get(config.name, ModelEntry()).labels
            for label, number in config.version_labels.items():
                loaded = number in versions and versions[number].state == AVAILABLE
                if not loaded and label in known:
                    raise ConfigRefused(
                        f"Request to assign label {label} to version {number} of model {config.name}, which is not "
                        "currently available for inference"
                    )

    def _load(self, config: Any, *, first: bool) -> None:
        served = self.models.setdefault(config.name, ModelEntry())
        for number in config.model_version_policy.specific.versions:
            if number in served.versions and served.versions[number].state == AVAILABLE:
                continue
            directory = Path(config.base_path) / str(number)
            try:
                self._check_warmup(directory)
                served.versions[number] = ServedVersion(AVAILABLE, SavedModel(directory))
            except Exception as exc:
                if first:
                    raise ConfigRefused(f"{config.name}: {exc}") from exc
                served.versions[number] = ServedVersion(LOADING, None, 3, str(exc))

    def _check_warmup(self, directory: Path) -> None:
        path = directory / WARMUP
        if not path.exists():
            return
        for record in tf.data.TFRecordDataset(str(path)):
            request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            for tensor in request.inputs.values():
                size = tensor.tensor_shape.dim[0].size
                if size > self._max_batch_size:
                    raise ConfigRefused(
                        f"Task size {size} is larger than maximum input batch size {self._max_batch_size}"
                    )
