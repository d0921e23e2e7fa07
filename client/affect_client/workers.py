"""A thread pool that can be abandoned: closing it, or ending the process, never waits long for a call."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Input = TypeVar("Input")
Result = TypeVar("Result")


class Workers(Generic[Input, Result]):
    """A bounded number of daemon threads that call one function.

    Python's `ThreadPoolExecutor` waits for its threads when the process ends, so that a gateway that hangs would delay
    Ctrl-C for as long as a call may take; these threads are not waited for.

    Args:
        function: called with each task.
        number: how many calls may run at a time.
    """

    def __init__(self, function: Callable[[Input], Result], number: int) -> None:
        self._function = function
        self._number = number
        self._tasks: SimpleQueue[tuple[Input, Future[Result]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, task: Input) -> Future[Result]:
        """Call the function with ``task`` as soon as a thread is free."""
        future: Future[Result] = Future()
        self._tasks.put((task, future))
        if len(self._threads) < self._number:
            self._threads.append(threading.Thread(target=self._work, name="affect-client", daemon=True))
            self._threads[-1].start()
        return future

    def close(self, timeout_s: float) -> None:
        """Drop the tasks that have not begun, and wait at most ``timeout_s`` seconds for the others."""
        try:
            while True:
                self._tasks.get_nowait()
        except Empty:
            for _ in self._threads:
                self._tasks.put(None)
        ends = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _work(self) -> None:
        while (item := self._tasks.get()) is not None:
            task, future = item
            try:
                result = self._function(task)
            except BaseException as exc:  # raised where the result is asked for
                future.set_exception(exc)
            else:
                future.set_result(result)
            # An idle thread must not keep its last picture in memory.
            del item, task, future
