#!/usr/bin/env bash
# After train_small.sh: its decoder goes on with 820 furniture models beside the made shapes, and its
# denoiser for captions with those models alone; then the audit of the latter. What is done is
# skipped, so a killed run goes on where it was.
#   bash scripts/train_small_furniture.sh [OUTPUT of train_small.sh, default runs/small] [flags of fetch_furniture.py]
set -euo pipefail
small=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/small"}")
shift || true
. "$(dirname "$0")/setup.sh"
mapfile -t source < <(absolute "$@")
workers=$(nproc)
output=$small/furniture
weights=$small/weights
export OMP_NUM_THREADS=1

python data_curation/fetch_furniture.py --output "$output/all" "${source[@]}"
python retrieval/extract_lfd.py --input "$output/all" --output "$output/all.lfd.npz" --workers "$workers"
python retrieval/retrieve.py --query "$output/all.lfd.npz" --database "$output/all.lfd.npz" \
  --exclude-self --topk 10 --workers "$workers" --output "$output/all.neighbours.json"
python data_curation/split_dataset.py --input "$output/all" --retrieval "$output/all.neighbours.json" \
  --threshold 1500 --ratios 0.8,0.02,0.18 --output "$output/split"
python mvcaption/generate_multigranularity_captions.py --backend metadata,geometry --input "$output/all" \
  --output_csv "$output/captions.csv" --stop "Blend Swap,SCPTS,Haussmann"
for part in train val test; do
  python data_curation/prepare_sdf.py --input "$output/split/$part.json" --output "$output/sdf/$part" \
    --volume-points 8000 --near-points 12000 --surface-points 8192 --workers "$workers"
  python data_curation/make_table.py --input "$output/split/$part.json" --output "$output/$part.csv" \
    --captions "$output/captions.phrase.csv"
done

both=$output/both # links, so that a furniture model is seen as often as four made shapes
rm -rf -- "$both"
mkdir "$both"
cp -rlT "$small/sdf/train" "$both/made"
for copy in 1 2 3 4; do cp -rlT "$output/sdf/train" "$both/$copy"; done
train train_autoencoder.py Autoencoder/small_furniture autoencoder "dataset.params.dataset_folder=$both" \
  "dataset.params.val_dataset_folder=$output/sdf/val" model.params.torch_compile=true \
  "model.params.first_stage_config.params.pretrained.ckpt_path=$weights/autoencoder.safetensors"
python hy3dshape/export_model.py --ckpt "$output/autoencoder" --output "$weights/autoencoder.safetensors"
for shapes in "$small" "$output"; do
  python hy3dshape/evaluate_autoencoder.py --input "$shapes/sdf/test" -c "$weights/autoencoder.yaml"
done

for part in train val; do
  python hy3dshape/encode_latents.py --input "$output/sdf/$part" -c "$weights/autoencoder.yaml" \
    --output "$output/latents/$part" --batch-size 32
done
train main.py quickstart_furniture denoiser "dataset.params.train_latent_folder=$output/latents/train" \
  "dataset.params.train_csv_path=$output/train.csv" "dataset.params.val_latent_folder=$output/latents/val" \
  "dataset.params.val_csv_path=$output/val.csv" "dataset.params.test_csv_path=$output/test.csv" \
  "model.params.ckpt_path=$weights/model.safetensors"
python hy3dshape/export_model.py --ckpt "$output/denoiser" --output "$weights/furniture.safetensors"
python hy3dshape/plot_training.py --input "$output"/{autoencoder,denoiser} \
  --output "$weights/training_furniture.png"
python hy3dshape/inference.py -c hy3dshape/weights/small/config.yaml --ckpt "$weights/furniture.safetensors" \
  --autoencoder "$weights/autoencoder_for_samples.safetensors" --csv "$output/test.csv" --out_dir "$output/samples"
bash scripts/evaluate.sh --generated "$output/samples" --train "$output/split/train.json" \
  --test "$output/split/test.json" --output "$output/audit" --title "Furniture: samples for held-out captions"
