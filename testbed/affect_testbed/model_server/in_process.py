"""A model server in this process that polls its models directory as a real one does, only more often."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from affect_testbed.model_server.models_directory import ConfigRefused, ModelsDirectory
from affect_testbed.model_server.server import LOADING, ModelServer, ServedVersion, serve

POLL_S = 0.02


class PolledDirectory(ModelsDirectory):
    """A models directory whose versions can be made to fail loading, and whose polling can be stopped."""

    def __init__(self, config: Path) -> None:
        super().__init__(config, max_batch_size=32)
        self.failing: set[int] = set()
        """Versions that do not load."""
        self.stuck = False
        """Whether the file is no longer read."""
        self.refusals: list[str] = []
        """The reasons for which a file was refused."""

    def poll(self) -> None:
        """Read the file once, as a real server does every second."""
        if not self.stuck:
            try:
                self.read()
            except (ConfigRefused, OSError) as exc:
                self.refusals.append(str(exc))

    def _load(self, config: Any, *, first: bool) -> None:
        super()._load(config, first=first)
        for number in self.failing & set(config.model_version_policy.specific.versions):
            self.models[config.name].versions[number] = ServedVersion(LOADING, None, 3, "the weights are torn")


@contextmanager
def in_process_server(root: Path) -> Iterator[tuple[PolledDirectory, str]]:
    """Run the server on the directory ``root``; yield its polled directory and its address."""
    directory = PolledDirectory(root / "models.config")
    directory.read(first=True)
    grpc_server, port = serve(ModelServer(directory.models))
    ended = threading.Event()

    def poll_until_ended() -> None:
        while not ended.wait(POLL_S):
            directory.poll()

    thread = threading.Thread(target=poll_until_ended)
    thread.start()
    try:
        yield directory, f"127.0.0.1:{port}"
    finally:
        ended.set()
        thread.join()
        grpc_server.stop(0).wait()
