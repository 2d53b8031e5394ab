"""The wheel, built from the source package and used where nothing else is installed. The
slowest file here: ``pytest -m 'not wheel'`` leaves it out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: No compiler, no CMake, no pkg-config can be found on it.
BARE_PATH = "/nonexistent"

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source package and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    env = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([str(ROOT / "tools" / "wheel.sh"), str(folder)], check=True, env=env)
    return folder


def test_source_package_is_complete(dist: Path) -> None:
    (sdist,) = dist.glob("reeve_queue-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    want = {str(p.relative_to(ROOT)) for p in (ROOT / "core" / "src").rglob("*.[ch]")}
    want |= {str(p.relative_to(ROOT)) for p in (ROOT / "core" / "scripts").rglob("*.lua")}
    want |= {"LICENSE", "CMakeLists.txt", "setup.py", "bindings/python/reeve/py.typed"}
    assert not want - names
    assert not [name for name in names if name.endswith((".so", ".o", ".a"))]


def test_wheel_holds_what_it_needs(dist: Path) -> None:
    (wheel,) = dist.glob("reeve_queue-*.whl")
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "reeve/py.typed" in names
    assert "reeve/_core.pyi" in names
    (extension,) = [name for name in names if name.endswith("_core.abi3.so")]
    if "manylinux" in wheel.name:
        assert any("libhiredis" in name for name in names), extension


def test_wheel_works_in_a_clean_environment(dist: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    bin_ = tmp_path / "venv" / "bin"
    (wheel,) = dist.glob("reeve_queue-*.whl")
    env = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    env |= {"PATH": BARE_PATH, "HOME": str(tmp_path)}
    install = [str(bin_ / "python"), "-m", "pip", "install", "--only-binary=:all:", str(wheel)]
    subprocess.run(install, check=True, env=env, cwd=tmp_path)
    command = [str(bin_ / "reeve"), "demo", str(ROOT / "core"), "--json"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["missing"], report["dead"]) == (0, 3)
    assert report["done"] > 20
    shutil.rmtree(tmp_path / "venv")
