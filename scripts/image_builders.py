"""One interface to the two programs that build and run the images: Docker, and buildah, which needs no daemon."""

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
    """An image cannot be built, or does not meet its requirements."""


class Mount(NamedTuple):
    """A folder of this machine that is mounted in a container."""

    source: Path
    target: str


class Container(Protocol):
    """A container on this machine's network; programs in it must not write to its root file system."""

    def start(self, *words: str, entrypoint: bool = True) -> Process:
        """Start a program in the container, by default the image's entrypoint with ``words`` as arguments."""

    def terminate(self, process: Process) -> None:
        """Send SIGTERM to the first process of a program that `start` started."""

    def check_unwritten(self) -> None:
        """Raise `BuildError` if something was written outside /tmp and the mounts."""

    def remove(self) -> None:
        """Remove the container."""


class Builder(Protocol):
    """A program that builds images and creates containers from them."""

    def base(self) -> str | None:
        """Return the base image to build on; None for the one that the Dockerfile names."""

    def build(self, image: str, dockerfile: str, target: str, arguments: Mapping[str, str]) -> None:
        """Build one stage of a Dockerfile."""

    def size(self, image: str) -> int:
        """Return the bytes of the files in an image, including those of its base."""

    def container(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> Container:
        """Create a container in which nothing runs yet."""


def find_builder() -> Builder | None:
    """Return Docker if its daemon answers, else buildah if it is installed, else None."""
    if _succeeds("docker", "info"):
        return Docker()
    if shutil.which("buildah"):
        return Buildah()
    return None


class Docker:
    """Builds with Docker, which pulls the Dockerfiles' base images."""

    def base(self) -> str | None:
        return os.environ.get("BASE_IMAGE")

    def build(self, image: str, dockerfile: str, target: str, arguments: Mapping[str, str]) -> None:
        _run("docker", "build", *_build_words(image, dockerfile, target, arguments))

    def size(self, image: str) -> int:
        # Depending on its storage driver, Docker itself reports the size of compressed layers.
        run = ("docker", "run", "--rm", "--user", "0", "--entrypoint", _DU[0], image, *_DU[1:], "/")
        return int(_output(*run).split()[0])

    def container(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> Container:
        return _DockerContainer(image, mounts, environment)


class _DockerContainer:
    """A container that Docker creates anew for each program, with a read-only root file system."""

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
    """Builds with buildah in chroot isolation, without a daemon or a registry, on a base made of Debian packages."""

    def base(self) -> str:
        given = os.environ.get("BASE_IMAGE")
        if given is None and not _succeeds("buildah", "inspect", "--type", "image", _LOCAL_BASE):
            _make_local_base()
        return given or _LOCAL_BASE

    def build(self, image: str, dockerfile: str, target: str, arguments: Mapping[str, str]) -> None:
        # In Docker's format, since the OCI format has no health check.
        options = ("--isolation", "chroot", "--format", "docker", "--layers")
        _run("buildah", "build", *options, *_build_words(image, dockerfile, target, arguments))

    def size(self, image: str) -> int:
        with _mounted(image) as root:
            return int(_output(*_DU, str(root)).split()[0])

    def container(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> Container:
        return _BuildahContainer(image, mounts, environment)


class _BuildahContainer:
    """One container for all programs; its root file system is writable, so it is searched for new files afterwards."""

    def __init__(self, image: str, mounts: Sequence[Mount], environment: Mapping[str, str]) -> None:
        config = json.loads(_output("buildah", "inspect", "--type", "image", image))["Docker"]["config"]
        self._entrypoint: list[str] = config["Entrypoint"]
        self._name = _output("buildah", "from", image)
        self._options = _run_words(mounts, environment)

    def start(self, *words: str, entrypoint: bool = True) -> Process:
        first = self._entrypoint if entrypoint else ()
        return _start("buildah", "run", "--isolation", "chroot", *self._options, self._name, "--", *first, *words)

    def terminate(self, process: Process) -> None:
        # buildah itself would answer SIGTERM by killing the program.
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
    """Make a base image of Debian with Python and pip that trusts the same certificates as this machine."""
    if not shutil.which("debootstrap"):
        raise BuildError("there is no base image: name one with BASE_IMAGE, or install debootstrap to have one made")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "base"
        packages = "--include=ca-certificates,netbase,python3,python3-pip"
        mirror = filter(None, [os.environ.get("DEBIAN_MIRROR")])  # debootstrap has a default
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
        output = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise BuildError(f"{' '.join(words)} ended with {done.returncode}:\n{output}")


def _output(*words: str) -> str:
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _succeeds(*words: str) -> bool:
    return bool(shutil.which(words[0])) and subprocess.run(words, capture_output=True, check=False).returncode == 0
