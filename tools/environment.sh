#!/usr/bin/env bash
# Makes a virtual environment with one Airflow version, this project, and what its tests need:
#   tools/environment.sh <airflow version> <folder>
# or, as a user has it, with that Airflow and a built wheel of this project, and what the wheel itself asks for:
#   tools/environment.sh <airflow version> <folder> <wheel>
# Paths are absolute, or begin at this project.
# The versions of all packages are in requirements/. PYTHON=... chooses the Python.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$1
folder=$2
wheel=${3:-}
requirements=requirements/airflow-$version.txt

fail() {
    echo "error: $*" >&2
    exit 1
}

[ -f "$requirements" ] || fail "there is no $requirements; known versions: $(ls requirements)."

# The last Python that this Airflow runs on; the project itself needs 3.11.
case $version in
2.*) last=12 ;;
3.0.* | 3.1.*) last=13 ;;
*) last=14 ;;
esac
needed="Airflow $version here needs Python 3.11 to 3.$last"

suits() {
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $last))" >/dev/null 2>&1
}

python=
if [ -n "${PYTHON:-}" ]; then
    suits "$PYTHON" || fail "$needed, and PYTHON=$PYTHON is not one. Set PYTHON to another, or leave it out."
    python=$PYTHON
else
    for candidate in python3 python3.12 python3.13 python3.11 python3.14 python; do
        if suits "$candidate"; then
            python=$candidate
            break
        fi
    done
fi

echo "== $folder: Airflow $version and $(grep -c '==' "$requirements") locked packages, once"
rm -f "$folder/.ready"
if command -v uv >/dev/null 2>&1; then
    # uv fetches a Python where the machine has none that suits.
    uv venv --quiet --clear --python "${python:-3.12}" "$folder" ||
        fail "$needed, and there is none: install one, for example from https://www.python.org/downloads/."
    install=(uv pip install --quiet --python "$folder/bin/python")
else
    [ -n "$python" ] ||
        fail "$needed, and there is none: install one, for example from https://www.python.org/downloads/."
    "$python" -c "import ensurepip, venv" 2>/dev/null ||
        fail "$python comes without venv: install it, on Debian and Ubuntu with: apt install python3-venv."
    "$python" -m venv --clear "$folder"
    install=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check)
fi
if [ -n "$wheel" ]; then
    # The locked versions only bound what is installed: what the wheel does not ask for is not there.
    "${install[@]}" --constraint "$requirements" "apache-airflow==$version" "$wheel[emulator]" ||
        fail "the wheel could not be installed; see above."
else
    # --no-deps: the file names everything, so nothing else can come in.
    "${install[@]}" --no-deps --requirement "$requirements" || fail "not all packages could be installed; see above."
    "${install[@]}" --no-deps --editable . || fail "this project could not be installed; see above."
fi
touch "$folder/.ready"
echo "== $folder: ready ($("$folder/bin/python" --version))"
