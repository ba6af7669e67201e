# Sourced by the other scripts: the repository as working folder, and a Python with the requirements.
# Uses the active virtual environment, or makes .venv.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
  if [ ! -x .venv/bin/python ]; then
    base=$(command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3) ||
      { echo "setup: no python3 found; install Python 3.11 or newer" >&2; exit 1; }
    "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
      { echo "setup: $base is older than Python 3.11" >&2; exit 1; }
    "$base" -m venv .venv ||
      { rm -rf .venv; echo "setup: no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
  fi
  . .venv/bin/activate
fi

wanted=$(sha256sum requirements.txt)
stamp="${VIRTUAL_ENV:-$CONDA_PREFIX}/requirements.sha256"
if [ "$wanted" != "$(cat "$stamp" 2>/dev/null)" ]; then
  echo "setup: installing requirements.txt" >&2
  # Not compiled: Python does that itself for what is imported
  python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt >&2 || exit 1
  echo "$wanted" >"$stamp"
fi

# Its words, those that are files where the script was called from as absolute paths.
absolute() {
  (cd "$OLDPWD" && for word in "$@"; do [ ! -e "$word" ] || word=$(realpath -- "$word"); printf '%s\n' "$word"; done)
}

# A training of hy3dshape on two CPU processes, into a folder below $output; it goes on where it was.
train() { # script, configuration, folder of the run, settings
  local settings=()
  for value in "${@:4}"; do settings+=(--set "$value"); done
  python "hy3dshape/$1" -c "hy3dshape/configs/$2.yaml" --output_dir "$output/$3" --device cpu -ng 2 \
    --ckpt_path auto "${settings[@]}"
}
