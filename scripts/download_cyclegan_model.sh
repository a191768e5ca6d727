#!/usr/bin/env bash
# Fetch a CycleGAN generator to ./checkpoints/NAME_pretrained/latest_net_G.pth; without a name, list them.
# Usage, from the repository's root:  bash ./scripts/download_cyclegan_model.sh horse2zebra
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
[ -x "$python" ] || python=python3
if ! command -v "$python" >/dev/null; then
  echo "error: python3 is needed and was not found; type: sudo apt-get install python3" >&2
  exit 2
fi
exec "$python" "$root/scripts/fetch.py" cyclegan_model "$@"
