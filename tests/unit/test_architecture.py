"""Who imports whom: one direction, and heavy packages in their adapters alone."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "affect_contract": ROOT / "contract",
    "affect_dataset": ROOT / "dataset",
    "affect_registry": ROOT / "registry",
    "affect_training": ROOT / "training",
    "affect_serving": ROOT / "serving",
    "affect_client": ROOT / "client",
    "affect_evaluation": ROOT / "client",
    "affect_load": ROOT / "client",
    "affect_models": ROOT / "client",
}
FOUNDATION = {"affect_contract", "affect_dataset", "affect_registry"}
MAY_IMPORT = {
    "affect_contract": set(),
    "affect_dataset": {"affect_contract"},
    "affect_registry": {"affect_contract"},
    "affect_training": FOUNDATION,
    "affect_serving": FOUNDATION,
    "affect_client": FOUNDATION,
    "affect_evaluation": FOUNDATION | {"affect_client"},
    "affect_load": FOUNDATION | {"affect_client"},
    "affect_models": FOUNDATION | {"affect_client"},
}
ADAPTERS = {
    "tensorflow": {"training"},
    "tensorflow_serving": {"training"},
    "keras": {"training"},
    "openvino": {"serving/affect_serving/backends/embedded"},
    "grpc": {
        "contract/affect_contract/proto",
        "serving/affect_serving/backends/tfserving",
        "serving/affect_serving/rpc",
        "client/affect_client/rpc",
        "client/affect_models/tfserving_observer.py",
        "client/affect_load/rpc_users.py",
    },
    "fastapi": {"serving/affect_serving/http"},
    "starlette": {"serving/affect_serving/http"},
    "uvicorn": {"serving/affect_serving/http"},
    "httpx": {"client/affect_client/http"},
    "sklearn": {"client/affect_evaluation"},
    "scipy": {"training", "client/affect_evaluation"},
    "krippendorff": {"client/affect_evaluation"},
    "matplotlib": {"training", "client/affect_evaluation", "client/affect_load/plots.py"},
    "locust": {
        "client/affect_load/locust_events.py",
        "client/affect_load/http_users.py",
        "client/affect_load/rpc_users.py",
        "client/affect_load/shape.py",
        "client/affect_load/paced_user.py",
    },
}
TENSORFLOW_ONLY_FOR_EXPORT = {"saved_model.py", "warmup.py"}


def sources(package: str) -> list[Path]:
    return sorted((PACKAGES[package] / package).rglob("*.py"))


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_dependencies_run_in_one_direction(package):
    allowed = MAY_IMPORT[package] | {package}
    for file in sources(package):
        ours = {name.split(".")[0] for name in imports(file)} & set(PACKAGES)
        assert ours <= allowed, f"{file.relative_to(ROOT)} imports {ours - allowed}"


@pytest.mark.parametrize("library", ADAPTERS)
def test_a_heavy_library_is_imported_in_its_adapters_alone(library):
    for package in PACKAGES:
        for file in sources(package):
            if library in {name.split(".")[0] for name in imports(file)}:
                place = file.relative_to(ROOT).as_posix()
                assert any(place == adapter or place.startswith(f"{adapter}/") for adapter in ADAPTERS[library]), place


def test_training_needs_tensorflow_itself_only_to_export():
    files = sources("affect_training")
    direct = {file.name for file in files if any(name.split(".")[0] == "tensorflow" for name in imports(file))}
    assert direct == TENSORFLOW_ONLY_FOR_EXPORT


def test_inside_the_gateway_only_the_root_knows_the_backends():
    for file in sources("affect_serving"):
        inside = "backends" in file.parts or file.name == "app.py"
        assert inside or not any(name.startswith("affect_serving.backends") for name in imports(file)), file.name


def test_the_two_skins_of_the_gateway_know_nothing_of_each_other_and_its_core_knows_neither():
    skins = {"http": {"affect_serving.rpc"}, "rpc": {"affect_serving.http"}}
    skins["core"] = skins["telemetry"] = skins["http"] | skins["rpc"]
    for folder, strangers in skins.items():
        for file in (PACKAGES["affect_serving"] / "affect_serving" / folder).rglob("*.py"):
            met = {name for name in imports(file) if name.startswith(tuple(strangers))}
            assert not met, f"{file.relative_to(ROOT)} imports {met}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_ships_its_types(package):
    assert (PACKAGES[package] / package / "py.typed").exists()


@pytest.mark.parametrize(
    "module",
    [
        "affect_serving.__main__",
        "affect_serving.backends.embedded.backend",
        "affect_serving.backends.tfserving.backend",
        "affect_client.predict_command",
        "affect_models.__main__",
    ],
)
def test_neither_gateway_nor_client_loads_tensorflow(module):
    code = (
        f"import sys, {module}; sys.exit(bool({{'tensorflow', 'keras', 'sklearn', 'matplotlib'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_embedded_runtime_neither_reports_its_import_nor_writes_into_the_home_directory(tmp_path):
    code = (
        "import sys, affect_serving.backends.embedded.backend;"
        "sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"HOME": str(tmp_path)}, check=False).returncode
        == 0
    )
    assert list(tmp_path.iterdir()) == []
