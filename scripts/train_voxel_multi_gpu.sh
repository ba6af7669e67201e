#!/usr/bin/env bash
# Train a voxel model on all GPUs of this machine, one process each.
#
#   bash scripts/train_voxel_multi_gpu.sh voxel_ldm/autoencoder.py|voxel_ldm/train_n.py [its flags ...]
#
# GPUS sets the number of processes (default: its GPUs); GPUS=2 with --device cpu starts two on the
# CPU. An output folder with a run is gone on with. --batch_size is of each process.
set -euo pipefail

if [ $# -lt 1 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
gpus=${GPUS:-$(python -c 'import torch; print(torch.cuda.device_count())')}
[ "$gpus" -gt 0 ] || { echo "train_voxel_multi_gpu.sh: no GPU here; GPUS=2 and --device cpu start two CPU processes" >&2; exit 2; }
exec python -m torch.distributed.run --standalone --nproc-per-node="$gpus" "$@"
