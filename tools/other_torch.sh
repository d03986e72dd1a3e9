#!/bin/sh
# Decode and encode with another release of torch: the same latents, and the streams of
# tests/conformance as they are. Downloads that torch with all it needs, which takes minutes.
#
#   sh tools/other_torch.sh [TORCH] [TORCHVISION]      default: 2.9.1 and 0.24.1
#
# Makes the environment VENV (default build/torch-TORCH) with PYTHON (default python3), and leaves
# it there: a second run is quick.
set -eu

case "${1-}" in
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit
    ;;
esac

torch=${1:-2.9.1}
torchvision=${2:-0.24.1}
root=$(cd "$(dirname "$0")/.." && pwd)
venv=${VENV:-$root/build/torch-$torch}

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet "torch==$torch" "torchvision==$torchvision" "$root[test]"
cd "$root"
PYTHONPATH=$root "$venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
PYTHONPATH=$root "$venv/bin/python" tools/conformance.py check
PYTHONPATH=$root "$venv/bin/python" -m pytest -q tests/test_portability.py tests/conformance
