"""The two programs that can build and run the images, behind one face: Docker, and buildah, which needs no daemon."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import psutil

ROOT: Final = Path(__file__).resolve().parent.parent
_CERTIFICATES: Final = Path("/usr/local/share/ca-certificates")
_DEBIAN: Final = "bookworm"
_LOCAL_BASE: Final = "localhost/affect-base"
_DU: Final = ("du", "--summarize", "--block-size=1", "--one-file-system")
_INIT: Final = "dumb-init"
_USER: Final = "10001"

Process = subprocess.Popen[str]


class BuildError(Exception):
    """An image cannot be built, or is not as it should be."""


class Mount(NamedTuple):
    """A folder of this machine inside a container."""

    source: Path
    target: str


class Container(Protocol):
    """A container in this machine's network, whose root file system the programs in it must leave as it is."""

    def start(self, *words: str, entrypoint: bool = True) -> Process:
        """Run something in it; by default what the image's entrypoint makes of ``words``."""

    def terminate(self, process: Process) -> None:
        """Send SIGTERM to the first process of what `start` gave."""

    def check_unwritten(self) -> None:
        """Raises `BuildError` where something was written outside /tmp and the mounts."""

    def remove(self) -> None:
        """Leave nothing of it."""


class Builder(Protocol):
    """What builds images and makes containers of them."""

    def base(self) -> str | None:
        """The base image to build on; None for the Dockerfile's own."""

    def build(self, image: str, dockerfile: str, target: str, arguments: Mapping[str, str]) -> None:
        """Build one stage of a Dockerfile."""

    def size(self, image: str) -> int:
        """Bytes of the files in an image, those of its base included."""

    def container(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> Container:
        """A container that nothing runs in yet."""


def find_builder() -> Builder | None:
    """Docker where its daemon answers, else buildah, else None."""
    if _succeeds("docker", "info"):
        return Docker()
    if shutil.which("buildah"):
        return Buildah()
    return None


class Docker:
    """Docker, which pulls the Dockerfiles' base images."""

    def base(self) -> str | None:
        return os.environ.get("BASE_IMAGE")

    def build(self, image: str, dockerfile: str, target: str, arguments: Mapping[str, str]) -> None:
        _run("docker", "build", *_build_words(image, dockerfile, target, arguments))

    def size(self, image: str) -> int:
        # What Docker itself says is the size of compressed layers with some of its stores.
        run = ("docker", "run", "--rm", "--user", "0", "--entrypoint", _DU[0], image, *_DU[1:], "/")
        return int(_output(*run).split()[0])

    def container(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> Container:
        return _DockerContainer(image, mounts, environment)


class _DockerContainer:
    """Each run is a container of its own, with a root file system that cannot be written."""

    def __init__(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> None:
        self._image = image
        self._options = ["--read-only", "--tmpfs", "/tmp", "--network", "host", "--cap-drop", "ALL"]
        self._options += _run_words(mounts, environment)

    def start(self, *words: str, entrypoint: bool = True) -> Process:
        override = () if entrypoint else ("--entrypoint", words[0])
        rest = words if entrypoint else words[1:]
        return _start("docker", "run", "--rm", *self._options, *override, self._image, *rest)

    def terminate(self, process: Process) -> None:
        process.terminate()

    def check_unwritten(self) -> None:
        pass

    def remove(self) -> None:
        pass


class Buildah:
    """buildah with chroot isolation: neither a daemon nor a registry, on a base made of Debian's packages."""

    def base(self) -> str:
        given = os.environ.get("BASE_IMAGE")
        if given is None and not _succeeds("buildah", "inspect", "--type", "image", _LOCAL_BASE):
            _make_local_base()
        return given or _LOCAL_BASE

    def build(self, image: str, dockerfile: str, target: str, arguments: Mapping[str, str]) -> None:
        # In Docker's format, since the other one has no health check.
        options = ("--isolation", "chroot", "--format", "docker", "--layers")
        _run("buildah", "build", *options, *_build_words(image, dockerfile, target, arguments))

    def size(self, image: str) -> int:
        with _mounted(image) as root:
            return int(_output(*_DU, str(root)).split()[0])

    def container(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> Container:
        return _BuildahContainer(image, mounts, environment)


class _BuildahContainer:
    """One container for all runs; it has no namespaces of its own, so what was written is looked for afterwards."""

    def __init__(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> None:
        config = json.loads(_output("buildah", "inspect", "--type", "image", image))["Docker"]["config"]
        self._entrypoint: list[str] = config["Entrypoint"]
        self._name = _output("buildah", "from", image)
        self._options = _run_words(mounts, environment)

    def start(self, *words: str, entrypoint: bool = True) -> Process:
        first = self._entrypoint if entrypoint else ()
        return _start("buildah", "run", "--isolation", "chroot", *self._options, self._name, "--", *first, *words)

    def terminate(self, process: Process) -> None:
        # buildah answers a signal of its own by killing what it runs.
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.name() == _INIT:
                child.terminate()

    def check_unwritten(self) -> None:
        root = _output("buildah", "mount", self._name)
        not_tmp = ("-path", f"{root}/tmp", "-prune", "-o")
        found = _output("find", root, "-xdev", *not_tmp, "-uid", _USER, "-type", "f", "-print")
        if found:
            raise BuildError(f"written into a root file system that is to be read-only: {found}")

    def remove(self) -> None:
        _run("buildah", "rm", self._name)


def _make_local_base() -> None:
    """Debian with Python and pip, that trusts whom this machine trusts."""
    if not shutil.which("debootstrap"):
        raise BuildError("there is no base image: name one with BASE_IMAGE, or install debootstrap to have one made")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "base"
        packages = "--include=ca-certificates,netbase,python3,python3-pip"
        mirror = filter(None, [os.environ.get("DEBIAN_MIRROR")])  # without one debootstrap knows its own
        _run("debootstrap", "--variant=minbase", packages, _DEBIAN, str(root), *mirror)
        for certificate in _CERTIFICATES.glob("*.crt"):
            shutil.copy(certificate, root / _CERTIFICATES.relative_to("/"))
        _run("chroot", str(root), "update-ca-certificates")
        _run("chroot", str(root), "apt-get", "clean")
        (Path(folder) / "Dockerfile").write_text("FROM scratch\nCOPY base/ /\n")
        _run("buildah", "build", "--isolation", "chroot", "--tag", _LOCAL_BASE, folder)


@contextmanager
def _mounted(image: str) -> Iterator[Path]:
    name = _output("buildah", "from", image)
    try:
        yield Path(_output("buildah", "mount", name))
    finally:
        _run("buildah", "rm", name)


def _build_words(image: str, dockerfile: str, target: str, arguments: Mapping[str, str]) -> list[str]:
    words = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
    if secret := os.environ.get("PIP_CONF"):
        words += ["--secret", f"id=pip.conf,src={secret}"]
    return ["--file", dockerfile, "--target", target, "--tag", image, *words, str(ROOT)]


def _run_words(mounts: Sequence[Mount], environment: Mapping[str, str]) -> list[str]:
    volumes = [word for mount in mounts for word in ("--volume", f"{mount.source}:{mount.target}")]
    return volumes + [word for item in environment.items() for word in ("--env", "=".join(item))]


def _start(*words: str) -> Process:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        said = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise BuildError(f"{' '.join(words)} ended with {done.returncode}:\n{said}")


def _output(*words: str) -> str:
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _succeeds(*words: str) -> bool:
    return bool(shutil.which(words[0])) and subprocess.run(words, capture_output=True, check=False).returncode == 0
