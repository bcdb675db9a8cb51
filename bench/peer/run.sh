#!/bin/sh
# Side by side with PyTorch on this machine: bench/peer/run.sh [toy|q05-4l|q05|decode] ... [options of compare.py]. See README.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PEER_PYTHON:-python3}
if ! "$python" -c 'import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in ("torch", "transformers", "peft", "trl")))'; then
	echo "$python lacks torch, transformers, peft or trl. To get them:" >&2
	echo "  python3 -m venv /tmp/peer && /tmp/peer/bin/pip install torch transformers peft trl && export PEER_PYTHON=/tmp/peer/bin/python" >&2
	exit 1
fi
make -C "$here/../.." build >&2
export PYTHONDONTWRITEBYTECODE=1
exec "$python" "$here/compare.py" --afctl "$here/../../bin/afctl" --python "$python" "$@"
