#!/usr/bin/env bash
# Trains the small voxel model of voxel_ldm/weights/small from nothing: 1,260 made shapes and the
# furniture under five kinds, grids of 64^3, the autoencoder and a denoiser with classes. What is
# done is skipped, so a killed run goes on where it was. Weights lie in OUTPUT/weights in the end.
#   bash scripts/train_voxel_small.sh [OUTPUT, default runs/voxel_small] [flags of fetch_furniture.py]
set -euo pipefail
output=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/voxel_small"}")
shift || true
. "$(dirname "$0")/setup.sh"
mapfile -t source < <(absolute "$@")
workers=$(nproc)
weights=$output/weights
words=(chair=chair,armchair table=table,desk sofa=sofa,couch bed=bed lamp=lamp)

python data_curation/fetch_furniture.py --output "$output/furniture" "${source[@]}"
python data_curation/make_shapes.py --output "$output/made" --count 1260 --seed 7 --workers "$workers" \
  --families chair,armchair,table,sofa,bed,floor_lamp
declare -A ratios=([made]="0.8,0.04,0.16 --sizes 100" [furniture]=0.8,0.1,0.1)
for name in made furniture; do
  python data_curation/list_shapes.py --input "$output/$name/shapes.json" --output "$output/$name.kinds.json" \
    --category-words "${words[@]}"
  python data_curation/split_dataset.py --input "$output/$name.kinds.json" --output "$output/split/$name" \
    --ratios ${ratios[$name]}
done
python voxel_ldm/load_data.py --input "$output"/split/{made,furniture}/{train,val,test}.json --mode solid \
  --output "$output/grids" --workers "$workers"

mkdir -p "$weights"
python voxel_ldm/autoencoder.py -c voxel_ldm/configs/small_autoencoder.yaml --dataset_path "$output/grids" \
  --ckpt_path "$output/autoencoder" --device cpu
cp "$output/autoencoder/autoencoder.safetensors" "$weights"
python voxel_ldm/train_n.py -c voxel_ldm/configs/small.yaml --dataset_path "$output/grids" --use_cfg \
  --ae_ckpt_path "$weights/autoencoder.safetensors" --output "$output/denoiser" --device cpu
cp "$output/denoiser/denoiser.safetensors" "$weights"
