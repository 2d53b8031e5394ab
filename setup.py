"""Builds the extension reeve._core: CMake makes the core as a static library, setuptools compiles
the glue and links everything into one file with only its init function visible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
GLUE = Path("bindings/python/src")
LIMITED_API = "0x030B0000"
PACKAGES = ["hiredis", "libcjson", "openssl", "sqlite3"]
# List for -fsanitize, such as address,undefined; see tools/asan_python.sh.
SANITIZE = os.environ.get("REEVE_SANITIZE", "")
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def pkg_config(*args: str) -> list[str]:
    command = [os.environ.get("PKG_CONFIG", "pkg-config"), *args, *PACKAGES]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit("building reeve needs pkg-config; install it and try again")
    except subprocess.CalledProcessError as error:
        sys.exit(f"building reeve needs its C libraries: {error.stderr.strip()}")
    return done.stdout.split()


class BuildCore(build_ext):
    """build_ext that makes the core first."""

    def run(self) -> None:
        core = self.build_core()
        for extension in self.extensions:
            extension.extra_objects.append(str(core))
            extension.extra_compile_args += pkg_config("--cflags")
            extension.extra_link_args += pkg_config("--libs")
            if SANITIZE:
                extension.extra_compile_args += [f"-fsanitize={SANITIZE}", "-g"]
                extension.extra_link_args += [f"-fsanitize={SANITIZE}"]
        super().run()

    def build_core(self) -> Path:
        if shutil.which("cmake") is None:
            sys.exit("building reeve needs CMake 3.22 or newer; install it and try again")
        build = Path(self.build_temp).resolve() / "core"
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(build),
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            "-DREEVE_WERROR=OFF",
            "-DREEVE_TESTS=OFF",
            f"-DREEVE_SANITIZE={SANITIZE}",
        ]
        if shutil.which("ninja") is not None:
            configure += ["-G", "Ninja"]
        self.spawn(configure)
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(min(os.cpu_count() or 1, 4)))
        self.spawn(["cmake", "--build", str(build), "--target", "reeve_static", "-j", jobs])
        return build / "libreeve.a"


def options() -> dict[str, dict[str, str]]:
    return {} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp311"}}


core = Extension(
    "reeve._core",
    sources=[str(path.relative_to(ROOT)) for path in sorted((ROOT / GLUE).glob("*.c"))],
    depends=[str(GLUE / "glue.h")],
    include_dirs=["core/include"],
    define_macros=[
        ("_POSIX_C_SOURCE", "200809L"),
        ("_DEFAULT_SOURCE", "1"),
        *([] if FREE_THREADED else [("Py_LIMITED_API", LIMITED_API)]),
    ],
    extra_compile_args=["-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra"],
    extra_link_args=["-pthread"]
    + (["-Wl,--exclude-libs,ALL"] if sys.platform.startswith("linux") else []),
    py_limited_api=not FREE_THREADED,
)

setup(ext_modules=[core], cmdclass={"build_ext": BuildCore}, options=options())
