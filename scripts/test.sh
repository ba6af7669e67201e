#!/usr/bin/env bash
# Lint, types and tests on two cores, in an environment of its own. Further arguments go to pytest.
set -euo pipefail
. "$(dirname "$0")/setup.sh"
ruff check .
ruff format --check --quiet .
mypy &
types=$!
export OMP_NUM_THREADS=1
python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@" # the long files, of e2e, first
wait $types
