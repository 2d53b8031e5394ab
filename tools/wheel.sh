#!/bin/sh
# Builds the source package and the wheel into DIST (default dist/). Where
# auditwheel and patchelf are to be had, the wheel gets its C libraries inside
# and a manylinux tag, so that it runs where none of them is installed.
#
#   tools/wheel.sh [DIST]       PYTHON=python3 picks the interpreter
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
dist=${1:-$root/dist}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

mkdir -p "$dist"
dist=$(cd "$dist" && pwd)

say() { echo "wheel: $*" >&2; }

# A virtual environment of its own: building must not change the caller's.
"$python" -m venv "$work/venv"
pip="$work/venv/bin/python -m pip --disable-pip-version-check --quiet"
$pip install 'build>=1.2'
if ! $pip install 'auditwheel>=6' patchelf; then
    say "no auditwheel: the wheel will need this machine's C libraries"
fi

say "source package, and from it the wheel"
"$work/venv/bin/python" -m build --outdir "$work/raw" "$root" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
cp "$work"/raw/*.tar.gz "$dist/"

wheel=$(ls "$work"/raw/*.whl)
if [ -x "$work/venv/bin/auditwheel" ]; then
    say "C libraries into the wheel"
    PATH="$work/venv/bin:$PATH" "$work/venv/bin/auditwheel" repair \
        --wheel-dir "$dist" "$wheel" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        exit 1
    }
else
    cp "$wheel" "$dist/"
fi
ls "$dist"/*.whl "$dist"/*.tar.gz
