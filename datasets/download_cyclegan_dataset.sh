#!/usr/bin/env bash
# Fetch one of the CycleGAN datasets into ./datasets/NAME; without a name, list them.
# Usage, from the repository's root:  bash ./datasets/download_cyclegan_dataset.sh horse2zebra
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
[ -x "$python" ] || python=python3
if ! command -v "$python" >/dev/null; then
  echo "error: python3 is needed and was not found; type: sudo apt-get install python3" >&2
  exit 2
fi
exec "$python" "$root/scripts/fetch.py" cyclegan_dataset "$@"
