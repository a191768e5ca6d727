#!/usr/bin/env bash
# Make .venv with everything pyproject.toml asks for, pinned by constraints.txt; do nothing when that is done already.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'error: %s\n' "$1" >&2; exit 2; }

want=$(cat pyproject.toml constraints.txt scripts/setup_env.sh | sha256sum | cut -d' ' -f1)
ready() { [ -x .venv/bin/python ] && [ "$(cat .venv/.ready 2>/dev/null)" = "$want" ]; }
if ready; then exit 0; fi
if command -v flock >/dev/null; then  # two terminals at once would install over each other
    exec 9<.
    flock -n 9 || { echo "another make is setting up .venv; waiting for it"; flock 9; }
    if ready; then exit 0; fi
fi

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "$python is missing; type: sudo apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old, 3.11 is needed; install a newer one and type: make PYTHON=python3.12"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "python3-venv is missing; type: sudo apt-get install python3-venv"

echo "setting up .venv: PyTorch and its GPU libraries are about 5 GB, the first time takes some minutes"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python - <<'PYTHON' > .venv/requirements.txt
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print("\n".join(project["dependencies"] + project["optional-dependencies"]["dev"]))
PYTHON
# Old and new pip read their build constraint from different variables, and visdom builds with setuptools < 81 only.
PIP_CONSTRAINT=$PWD/constraints.txt PIP_BUILD_CONSTRAINT=$PWD/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
    .venv/bin/python -m pip install --progress-bar on -r .venv/requirements.txt ||
    fail "the installation did not finish (see above); check the network and free disk space, then type the same again"
.venv/bin/python -c 'import torch, torchvision' || fail "torch and torchvision do not fit together; rm -r .venv and type the same again"
echo "$want" > .venv/.ready
