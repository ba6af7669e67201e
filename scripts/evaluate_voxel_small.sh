#!/usr/bin/env bash
# How good the small voxel model is, and whether it copies: 20 samples of each kind by the weights
# that ship, and as many by a denoiser that the same recipe trains on 100 made shapes with as many
# steps. Both are evaluated and audited against their training shapes. Held-out shapes
# go through the autoencoder first, so that they are as smooth as samples.
#   bash scripts/evaluate_voxel_small.sh [OUTPUT of train_voxel_small.sh, default runs/voxel_small]
set -euo pipefail
output=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/voxel_small"}")
. "$(dirname "$0")/setup.sh"
workers=$(nproc)
small=voxel_ldm/weights/small

echo "=== the autoencoder: held-out shapes given back"
for part in val test; do python voxel_ldm/reconstruct.py --input "$output"/grids/*_voxels_$part.npz; done
python voxel_ldm/load_data.py --input "$output"/split/furniture/{val,test}.json --mode solid \
  --output "$output/furniture_grids" --workers "$workers" >&2
python voxel_ldm/reconstruct.py --input "$output"/furniture_grids/*.npz

python voxel_ldm/load_data.py --input "$output"/split/made/{train_100,val}.json --mode solid \
  --output "$output/few/grids" --workers "$workers" >&2
python voxel_ldm/train_n.py -c voxel_ldm/configs/small.yaml --num_epochs 131 --dataset_path "$output/few/grids" \
  --use_cfg --ae_ckpt_path $small/autoencoder.safetensors --output "$output/few/denoiser" --device cpu >&2
python voxel_ldm/reconstruct.py --input "$output"/grids/*_voxels_test.npz --output "$output/test" >&2
python data_curation/list_shapes.py --input "$output/test" --output "$output/test/shapes.json" >&2

audit() { # name, its training grids, denoiser
  local folder=$output/$1
  python voxel_ldm/sampling_n.py --save_dir "$folder/samples" --num_samples 20 --scheduler ddim --steps 50 \
    --ldm_ckpt_path "$3" --device cpu >&2 || [ $? -eq 3 ] # a sample may have no surface
  python voxel_ldm/reconstruct.py --plain --input "$2"/*_voxels_train.npz --output "$folder/train" >&2
  for set in samples train; do
    python data_curation/list_shapes.py --input "$folder/$set" --output "$folder/$set/shapes.json" >&2
  done
  for kind in bed chair lamp sofa table; do
    echo "--- $kind"
    python voxel_ldm/eval.py $kind "$folder/samples/$kind.npy" --reference "$output/grids/${kind}_voxels_test.npz"
  done
  python voxel_ldm/visualize.py --input "$folder"/samples/*.npy --limit 20 --output "$folder/samples.png" >&2
  bash scripts/evaluate.sh --generated "$folder/samples" --train "$folder/train" --test "$output/test" \
    --output "$folder/audit" --title "Voxel model: $1"
}
echo "=== trained on about 1,000 shapes"
audit many "$output/grids" $small/denoiser.safetensors
echo "=== trained on 100 shapes"
audit few "$output/few/grids" "$output/few/denoiser/denoiser.safetensors"
echo "=== 100 of the training shapes themselves"
for kind in bed chair lamp sofa table; do
  python voxel_ldm/eval.py $kind "$output/few/grids/${kind}_voxels_train.npz" \
    --reference "$output/grids/${kind}_voxels_test.npz"
done
