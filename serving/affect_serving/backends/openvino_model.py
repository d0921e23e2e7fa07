"""One SavedModel compiled by OpenVINO, with the threads that run it.

Pictures that wait together run together: while all streams are busy requests queue, and a free stream takes up
to `_MICRO_BATCH` of them in one inference. A lone picture starts at once, on all threads of its stream.
"""

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import openvino
from numpy.typing import NDArray

from affect_contract.errors import BackendError, Overloaded
from affect_contract.labels import LABELS
from affect_contract.models import IMAGES_INPUT, PROBABILITIES, ServedModel
from affect_contract.preprocess import SHAPE
from affect_contract.store import SAVED_MODEL_FILE
from affect_serving.backend import ServingError
from affect_serving.settings import Precision

_THREADS_A_STREAM: Final = 2
"""Two threads answer one picture 1.6 times as fast as one, and use the processors as well as two streams of one."""
_MICRO_BATCH: Final = 4
"""Larger batches gain nothing on processors: their intermediate results no longer fit the caches."""
_MAX_WAITING: Final = 256
"""Pictures that may wait for one model; more would only wait past any deadline."""

_DEVICE: Final = "CPU"
_PRECISIONS: Final = {Precision.F32: openvino.Type.f32, Precision.BF16: openvino.Type.bf16}

Row = dict[str, Any]
"""One picture's outputs by name: float32 [8] probabilities, float32 scalars."""


class LoadError(Exception):
    """A SavedModel that cannot be served; the text says what is wrong with it."""


def runtime(precision: Precision) -> openvino.Core:
    """The OpenVINO runtime.

    Raises:
        ServingError: the processor has no such arithmetic.
    """
    core = openvino.Core()
    capabilities = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if precision is Precision.BF16 and "BF16" not in capabilities:
        raise ServingError("this processor has no bfloat16 arithmetic: leave embedded_precision at f32")
    return core


class OpenVinoModel:
    """A loaded model; `run` may be called from any number of tasks at once."""

    def __init__(self, compiled: openvino.CompiledModel, name: str, streams: int) -> None:
        self._compiled = compiled
        self._name = name
        self._waiting: deque[tuple[NDArray[np.uint8], Future[Row]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True) for number in range(streams)
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def load(cls, core: openvino.Core, directory: Path, model: ServedModel, *, precision: Precision, cpus: int) -> Self:
        """Read, check and compile one version directory, and run it once.

        Raises:
            LoadError: it is no SavedModel, or not one of ``model``.
        """
        if not (directory / SAVED_MODEL_FILE).is_file():
            raise LoadError(f"there is no {directory / SAVED_MODEL_FILE}")
        streams = max(1, cpus // _THREADS_A_STREAM)
        try:
            network = core.read_model(directory)
            _check(network, model)
            compiled = core.compile_model(
                network,
                _DEVICE,
                {
                    # OpenVINO's own default on processors with bfloat16 units is bfloat16, which moves the answers.
                    "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
                    "NUM_STREAMS": streams,
                    "INFERENCE_NUM_THREADS": cpus,
                    "ENABLE_CPU_PINNING": False,
                },
            )
            # The first inference of a batch size takes a multiple of the time; no request should pay for it.
            for size in range(1, _MICRO_BATCH + 1):
                compiled.create_infer_request().infer({IMAGES_INPUT: np.zeros((size, *SHAPE), np.uint8)})
        except RuntimeError as exc:
            raise LoadError(f"OpenVINO cannot read it: {str(exc).strip().splitlines()[-1]}") from exc
        return cls(compiled, model.name, streams)

    async def run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """The outputs for uint8 [n, 224, 224, 3], by name, each float32 [n, ...].

        Raises:
            Overloaded: too many pictures wait already.
            BackendError: the runtime failed.
        """
        futures = [asyncio.wrap_future(future) for future in self._enqueue(images)]
        rows = await asyncio.gather(*futures)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def close(self) -> None:
        """Finish what is waiting and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enqueue(self, images: NDArray[np.uint8]) -> list[Future[Row]]:
        futures: list[Future[Row]] = [Future() for _ in images]
        with self._changed:
            if len(self._waiting) + len(images) > _MAX_WAITING:
                raise Overloaded(f"{len(self._waiting)} pictures wait for {self._name} already", retry_after_s=1.0)
            self._waiting.extend(zip(images, futures, strict=True))
            self._changed.notify(len(futures))
        return futures

    def _serve(self) -> None:
        request = self._compiled.create_infer_request()
        while batch := self._take():
            futures = [future for _, future in batch]
            try:
                request.infer({IMAGES_INPUT: np.stack([image for image, _ in batch])})
                outputs = {port.any_name: request.get_tensor(port).data.copy() for port in self._compiled.outputs}
            except RuntimeError as exc:
                for future in futures:
                    failure = BackendError(f"{self._name} failed to run: look at the gateway's log")
                    failure.__cause__ = exc
                    future.set_exception(failure)
                continue
            for number, future in enumerate(futures):
                future.set_result({name: values[number] for name, values in outputs.items()})

    def _take(self) -> list[tuple[NDArray[np.uint8], Future[Row]]]:
        """The next pictures to run, at least one; none when the model is closed."""
        with self._changed:
            while True:
                batch: list[tuple[NDArray[np.uint8], Future[Row]]] = []
                while self._waiting and len(batch) < _MICRO_BATCH:
                    image, future = self._waiting.popleft()
                    # A caller that has given up leaves a cancelled future behind: no work for that.
                    if future.set_running_or_notify_cancel():
                        batch.append((image, future))
                if batch or self._closed:
                    return batch
                self._changed.wait()


def _check(network: openvino.Model, model: ServedModel) -> None:
    """Hold a model against the contract."""
    inputs = {port.any_name: _form(port) for port in network.inputs}
    outputs = {port.any_name: _form(port) for port in network.outputs}
    wanted_inputs = {IMAGES_INPUT: f"u8{['?', *SHAPE]}"}
    wanted_outputs = {name: f"f32{['?', len(LABELS)] if name == PROBABILITIES else ['?']}" for name in model.outputs}
    if inputs != wanted_inputs:
        raise LoadError(f"its inputs are {inputs} where {model.name} has {wanted_inputs}")
    if outputs != wanted_outputs:
        raise LoadError(f"its outputs are {outputs} where {model.name} has {wanted_outputs}")


def _form(port: Any) -> str:
    sides = [side.get_length() if side.is_static else "?" for side in port.get_partial_shape()]
    return f"{port.get_element_type().get_type_name()}{sides}"
