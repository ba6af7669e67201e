#!/usr/bin/env bash
# The audit on 820 real furniture meshes: split them with near-duplicates on one side, then audit
# held-out shapes as an honest generator and disguised training shapes as one that copies.
#   bash scripts/furniture.sh [OUTPUT, default runs/furniture] [flags of fetch_furniture.py]
set -euo pipefail
output=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/furniture"}")
shift || true
. "$(dirname "$0")/setup.sh"
mapfile -t source < <(absolute "$@")
workers=$(nproc)
all=$output/all

python data_curation/fetch_furniture.py --output "$all" "${source[@]}" >&2
python retrieval/extract_lfd.py --input "$all" --output "$output/all.lfd.npz" --workers "$workers" >&2
python retrieval/retrieve.py --query "$output/all.lfd.npz" --database "$output/all.lfd.npz" \
  --exclude-self --topk 10 --workers "$workers" --output "$output/all.neighbours.json" >&2
python data_curation/split_dataset.py --input "$all" --retrieval "$output/all.neighbours.json" \
  --threshold 1500 --ratios 0.6,0.2,0.2 --output "$output/split"
python data_curation/disguise_shapes.py --input "$output/split/train.json" --output "$output/copies" \
  --disguise noise,remesh,decimate,rotate_small,stretch,remove_part --pick one --count 160 --seed 1 \
  --neutral-ids --workers "$workers" >&2

for generator in held-out copies; do
  list=$output/split/val.json
  [ "$generator" = copies ] && list=$output/copies/shapes.json
  echo
  echo "=== generator: $generator"
  bash scripts/evaluate.sh --generated "$list" --train "$output/split/train.json" \
    --test "$output/split/test.json" --output "$output/audit-$generator" --title "Furniture: $generator"
done
