#!/usr/bin/env bash
# Run a command that takes --shard i/n as n processes side by side, then once more without it to join:
#   bash scripts/shard.sh 4 python retrieval/extract_lfd.py --input train --output train_lfd.npz
# On a cluster, a job array does the same: --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT
set -uo pipefail
if [ $# -lt 2 ] || ! [ "$1" -ge 1 ] 2>/dev/null; then
  echo "usage: shard.sh N COMMAND [ARGUMENT ...]" >&2
  exit 2
fi
count=$1
shift
pids=()
for ((i = 0; i < count; i++)); do
  "$@" --shard "$i/$count" &
  pids+=($!)
done
trap 'kill "${pids[@]}" 2>/dev/null' INT TERM
worst=0
for pid in "${pids[@]}"; do
  wait "$pid"
  code=$?
  if [ "$code" -eq 1 ] || [ "$code" -eq 2 ] || [ "$code" -gt 3 ]; then worst=$code; fi
done
[ "$worst" -eq 0 ] || exit "$worst"
exec "$@"
