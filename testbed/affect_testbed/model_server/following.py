"""A model server in this process that follows a models directory as a real one does, only more often."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affect_testbed.model_server.models_directory import ModelsDirectory, Refused
from affect_testbed.model_server.server import LOADING, ModelServer, ServedVersion, serve

LOOK_EVERY_S = 0.02


class Following(ModelsDirectory):
    """A models directory some of whose versions do not load, or that stops to read, when told so."""

    def __init__(self, config: Path) -> None:
        super().__init__(config, max_batch_size=32)
        self.failing: set[int] = set()
        self.stuck = False
        self.refusals: list[str] = []

    def look(self) -> None:
        """Read the file, as a server does once a second."""
        if not self.stuck:
            try:
                self.read()
            except (Refused, OSError) as exc:
                self.refusals.append(str(exc))

    def _load(self, config, *, first):
        super()._load(config, first=first)
        for number in self.failing & set(config.model_version_policy.specific.versions):
            self.models[config.name].versions[number] = ServedVersion(LOADING, None, 3, "the weights are torn")


@contextmanager
def following_server(root: Path) -> Iterator[tuple[Following, str]]:
    """The server; gives its directory and its address."""
    directory = Following(root / "models.config")
    directory.read(first=True)
    grpc_server, port = serve(ModelServer(directory.models))
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(LOOK_EVERY_S):
            directory.look()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield directory, f"127.0.0.1:{port}"
    finally:
        ended.set()
        thread.join()
        grpc_server.stop(0).wait()
