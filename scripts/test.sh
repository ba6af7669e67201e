#!/usr/bin/env bash
# Lint, types and tests, in an environment of its own. Further arguments go to pytest.
set -euo pipefail
. "$(dirname "$0")/setup.sh"
ruff check .
ruff format --check --quiet .
mypy
python -m pytest "$@"
