#!/bin/sh
# Makes the virtual environment that tests and demo run in, with a Python of
# 3.11 or newer and what requirements-dev.txt lists.
#
#   tools/venv.sh DIR
set -eu

venv=$1
python=""
for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "venv: needs Python 3.11 or newer, found $(python3 --version)" >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ]; then
    echo "venv: making $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi
echo "venv: installing requirements-dev.txt"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -r requirements-dev.txt
