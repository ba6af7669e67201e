#!/usr/bin/env bash
# Trains the small encoder of fpd_eval/weights/pointnet from nothing: the made shapes of
# train_small.sh and the furniture, clouds of both, the network, and what its Frechet distance sees.
# What is done is skipped, so a killed run goes on where it was.
#   bash scripts/train_encoder.sh [OUTPUT, default runs/encoder] [flags of fetch_furniture.py]
set -euo pipefail
output=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/encoder"}")
shift || true
. "$(dirname "$0")/setup.sh"
mapfile -t source < <(absolute "$@")
workers=$(nproc)
export OMP_NUM_THREADS=1

python data_curation/make_shapes.py --output "$output/shapes" --count 6000 --seed 7 --workers "$workers" \
  || [ $? -eq 3 ] # one shape is refused
python data_curation/fetch_furniture.py --output "$output/furniture" "${source[@]}"
python data_curation/split_dataset.py --input "$output/shapes" --ratios 0.94,0.01,0.05 --output "$output/split/made"
python data_curation/split_dataset.py --input "$output/furniture" --ratios 0.85,0,0.15 \
  --output "$output/split/furniture"
tasks=()
for task in made furniture; do
  for part in train test; do
    python retrieval/sample_points.py --input "$output/split/$task/$part.json" --points 2048 \
      --output "$output/points/${task}_$part.npz" --workers "$workers"
  done
  tasks+=(--task "$task" "$output/points/${task}_train.npz" "$output/points/${task}_test.npz")
done
python fpd_eval/train_encoder.py "${tasks[@]}" --epochs 8 --output "$output/pointnet"
for encoder in pointnet d2a3; do
  weights=()
  [ "$encoder" = pointnet ] && weights=(--weights "$output/pointnet/pointnet.safetensors")
  python fpd_eval/check_encoder.py --input "$output/split/made/test.json" --encoder "$encoder" "${weights[@]}" \
    --output "$output/$encoder.json" || [ $? -eq 1 ] # 1: not every distance rises
done
