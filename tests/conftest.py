"""What several tests need and is dear to make: a trained models directory, real pictures."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from affect_dataset.faces.synthetic import write_faces
from affect_testbed.small_models import make as small_models_of_random_weights

# How long a machine takes says nothing of a property.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
FACES = 64
LONGEST = ("test_documents.py", "test_kubernetes_commands.py", "test_real_pictures.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that no worker is left alone with one of them at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first of all workers makes and the others find."""
    # Each worker's base is a folder inside the run's; without workers the base is the run's own.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shared / f"{name}.done"
        if not done.exists():
            make(folder)
            done.touch()
    return folder


def command(name: str, *arguments: object, status: int = 0, **options: object) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands as a user does, and hold it to its exit status."""
    words = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == status, f"{name}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """Synthetic faces in AffectNet's layout."""
    return once(tmp_path_factory, "faces", lambda folder: write_faces(folder, FACES))


def quick_training(*arguments: object) -> None:
    """`affect-train` as a process of its own, whose pretrained networks are tiny ones."""
    words = [sys.executable, "-m", "affect_testbed.quick_training", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="session")
def trained(tmp_path_factory, faces):
    """A models directory as `affect-train` leaves it: a fused model of mobilenet_v2, and the custom CNN as a pair."""

    def train(folder: Path) -> None:
        quick_training(
            "--data", faces, "--models", folder, "--cache", folder.with_name("cache"),
            "--backbones", "mobilenet_v2,custom_cnn", "--weights", "none", "--epochs", "3", "--learning-rate", "0.003",
            "--with-encoded-signature",
        )  # fmt: skip

    return once(tmp_path_factory, "models", train)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory):
    """Versions of the custom CNN's pair that differ, as ``SEED/NAME``; see `affect_testbed.small_models`."""
    return once(tmp_path_factory, "small_models", small_models_of_random_weights)


def _beside(variable: str, folder: str) -> Path:
    path = Path(os.environ.get(variable) or ROOT.parent / "shared" / folder)
    if not path.is_dir():
        pytest.skip(f"no real data here: {variable} names none, and there is no {path}")
    return path


@pytest.fixture(scope="session")
def real_data():
    """Real AffectNet pictures, where there are any."""
    return _beside("AFFECT_TEST_DATA", "data/affectnet_dev")


@pytest.fixture(scope="session")
def real_weights():
    """A folder of ImageNet weights, where there is one."""
    return _beside("AFFECT_TEST_WEIGHTS", "weights")
