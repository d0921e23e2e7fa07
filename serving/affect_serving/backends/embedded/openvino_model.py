"""A SavedModel compiled by OpenVINO, with the threads that run it.

Each processor runs one stream, of one picture at a time on one thread. Batches are not faster on a CPU, because their
intermediate results do not fit its caches. Two inference requests per stream keep it busy while Python hands over.
"""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import openvino
from numpy.typing import NDArray

from affect_contract.errors import BackendError, Overloaded
from affect_contract.models import ServedModel
from affect_contract.preprocess import SHAPE
from affect_contract.signatures import IMAGES_INPUT
from affect_registry.store import SAVED_MODEL_FILE
from affect_serving.core.backend import ServingError
from affect_serving.core.cpus import lower_thread_priority
from affect_serving.settings import EmbeddedPrecision

_REQUESTS_PER_STREAM: Final = 2
"""Inference requests per stream; with one, processors idled a tenth of the time, waiting for Python's lock."""
_MAX_WAITING: Final = 256
"""Pictures that may wait for one model; any more would wait longer than any deadline."""

_DEVICE: Final = "CPU"
_PRECISIONS: Final = {EmbeddedPrecision.F32: openvino.Type.f32, EmbeddedPrecision.BF16: openvino.Type.bf16}

_log = logging.getLogger(__name__)


class LoadError(Exception):
    """A SavedModel cannot be served; the message says what is wrong with it."""


def runtime(precision: EmbeddedPrecision) -> openvino.Core:
    """Return the OpenVINO runtime.

    Raises:
        ServingError: the processor does not support the precision.
    """
    core = openvino.Core()
    capabilities = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if precision is EmbeddedPrecision.BF16 and "BF16" not in capabilities:
        raise ServingError("this processor has no bfloat16 arithmetic: leave embedded_precision at f32")
    return core


class OpenVinoModel:
    """A loaded model; any number of tasks of one event loop may call `run`.

    Args:
        compiled: the compiled model.
        name: the model's name, for messages.
        streams: the number of pictures that run at the same time.
    """

    def __init__(self, compiled: openvino.CompiledModel, name: str, streams: int) -> None:
        self._compiled = compiled
        self._name = name
        self._waiting = 0
        self._local = threading.local()
        # The threads hold no reference to this object, so that its memory is freed with the last reference to it.
        self._pool = ThreadPoolExecutor(
            streams * _REQUESTS_PER_STREAM,
            thread_name_prefix=name,
            initializer=_prepare_thread,
            initargs=(self._local, compiled),
        )

    @classmethod
    def load(
        cls, core: openvino.Core, directory: Path, model: ServedModel, *, precision: EmbeddedPrecision, cpus: int
    ) -> Self:
        """Read, check and compile the SavedModel in a version's directory, and run it once.

        Args:
            core: the OpenVINO runtime.
            directory: the version's directory.
            model: the model of the contract that it must be a version of.
            precision: the arithmetic to run it in.
            cpus: the number of processors to use.

        Raises:
            LoadError: the directory has no SavedModel, or one that does not fit ``model``.
        """
        lower_thread_priority()  # OpenVINO starts its own threads here, which inherit the priority
        try:
            # Of a file that cannot be read OpenVINO says that it does not exist, so try that first.
            (directory / SAVED_MODEL_FILE).open("rb").close()
        except OSError as exc:
            raise LoadError(f"{directory / SAVED_MODEL_FILE} cannot be read: {exc.strerror}") from exc
        try:
            network = core.read_model(directory)
            _check(network, model)
            network.reshape([1, *SHAPE])
            compiled = core.compile_model(
                network,
                _DEVICE,
                {
                    # On processors with bfloat16 units OpenVINO's default is bfloat16, which changes the answers.
                    "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
                    "NUM_STREAMS": cpus,
                    "INFERENCE_NUM_THREADS": cpus,
                    "ENABLE_CPU_PINNING": False,
                },
            )
            # The first inference takes much longer than later ones; no request should have to wait for it.
            compiled.create_infer_request().infer({IMAGES_INPUT: np.zeros((1, *SHAPE), np.uint8)})
        except RuntimeError as exc:
            raise LoadError(f"OpenVINO cannot read it: {str(exc).strip().splitlines()[-1]}") from exc
        return cls(compiled, model.name, cpus)

    async def run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Run the model on pictures; cancelling the call drops those that have not been started.

        Args:
            images: uint8 [n, 224, 224, 3], RGB.

        Returns:
            The outputs by name, each float32 [n, ...].

        Raises:
            Overloaded: too many pictures are waiting already.
            BackendError: the runtime failed.
        """
        if self._waiting + len(images) > _MAX_WAITING:
            raise Overloaded(f"{self._waiting} pictures wait for {self._name} already", retry_after_s=1.0)
        loop = asyncio.get_running_loop()
        self._waiting += len(images)
        try:
            single = (images[row : row + 1] for row in range(len(images)))
            answers = await asyncio.gather(*(loop.run_in_executor(self._pool, self._infer, one) for one in single))
        finally:
            self._waiting -= len(images)
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def close(self) -> None:
        """Run the pictures that are waiting, then stop the threads."""
        self._pool.shutdown()

    def _infer(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        request: openvino.InferRequest = self._local.request
        try:
            request.infer({IMAGES_INPUT: image}, share_inputs=True)
        except RuntimeError as exc:
            _log.exception("%s failed to run", self._name)
            raise BackendError(f"{self._name} failed to run: look at the gateway's log") from exc
        return {port.any_name: request.get_tensor(port).data.copy() for port in self._compiled.outputs}


def _prepare_thread(local: threading.local, compiled: openvino.CompiledModel) -> None:
    lower_thread_priority()
    local.request = compiled.create_infer_request()


def _check(network: openvino.Model, model: ServedModel) -> None:
    """Raise LoadError unless the network has the inputs and outputs that the contract gives for ``model``."""
    inputs = {port.any_name: _type_and_shape(port) for port in network.inputs}
    outputs = {port.any_name: _type_and_shape(port) for port in network.outputs}
    wanted_inputs = {IMAGES_INPUT: f"u8{['?', *SHAPE]}"}
    wanted_outputs = {output.name: f"f32{['?', *output.shape]}" for output in model.outputs}
    if inputs != wanted_inputs:
        raise LoadError(f"its inputs are {inputs} where {model.name} has {wanted_inputs}")
    if outputs != wanted_outputs:
        raise LoadError(f"its outputs are {outputs} where {model.name} has {wanted_outputs}")


def _type_and_shape(port: Any) -> str:
    sides = [side.get_length() if side.is_static else "?" for side in port.get_partial_shape()]
    return f"{port.get_element_type().get_type_name()}{sides}"
