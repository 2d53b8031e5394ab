#!/bin/sh
# The Python suite with the core and the extension built under AddressSanitizer
# and UBSan. Python itself is not, so leaks are not looked for: the interpreter
# keeps memory on purpose; the C suites look for them. The quarantine of freed
# memory is kept small, for one test looks at the process's size.
#
#   tools/asan_python.sh [PYTEST ARGUMENTS]      PYTHON=.venv/bin/python
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
work=$PWD/build-asan-python
export REEVE_SANITIZE=address,undefined

echo "asan: building the extension in build-asan-python" >&2
mkdir -p "$work"
"$python" setup.py -q build --build-base "$work" --build-lib "$work/lib" \
    --build-temp "$work/temp" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
echo "asan: running tests/python" >&2
preload=$(cc -print-file-name=libasan.so):$(cc -print-file-name=libubsan.so)
LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=1 PYTHONPATH=$work/lib \
    exec "$python" -m pytest -q -m "not wheel" tests/python "$@"
