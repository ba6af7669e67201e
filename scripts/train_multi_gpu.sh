#!/usr/bin/env bash
# Train on all GPUs of one or of many machines.
#
#   bash scripts/train_multi_gpu.sh CONFIG OUTPUT_DIR [flags of main.py ...]
#
# One machine: nothing to set. Many: run it on every one of them with NNODES, NODE_RANK, MASTER_ADDR
# (the machine of rank 0) and MASTER_PORT (29500) set, or under srun (scripts/slurm_train.sbatch).
# GPUS sets the processes on each machine (default: its GPUs). SCRIPT=train_autoencoder.py trains an
# autoencoder. An output folder with checkpoints is gone on with.
set -euo pipefail

if [ $# -lt 2 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
config=$1 output=$2
shift 2
stage=$(cd "$(dirname "${BASH_SOURCE[0]}")/../hy3dshape" && pwd)
gpus=${GPUS:-$(python -c 'import torch; print(torch.cuda.device_count())')}
nodes=${NNODES:-1}
[ "$gpus" -gt 0 ] || { echo "train_multi_gpu.sh: no GPU here; GPUS=2 starts two CPU processes" >&2; exit 2; }
if [ "$nodes" -gt 1 ]; then
  meet=(--nnodes="$nodes" --node-rank="${NODE_RANK:?set the rank of this machine, from 0}"
    --master-addr="${MASTER_ADDR:?set the machine of rank 0}" --master-port="${MASTER_PORT:-29500}")
else
  meet=(--standalone)
fi
exec python -m torch.distributed.run "${meet[@]}" --nproc-per-node="$gpus" \
  "$stage/${SCRIPT:-main.py}" --fast -c "$config" -nn "$nodes" -ng "$gpus" \
  --output_dir "$output" --ckpt_path auto "$@"
