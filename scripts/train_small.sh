#!/usr/bin/env bash
# Trains the small model of hy3dshape/weights/small from nothing: 6,000 made shapes, their samples,
# the autoencoder, latents, a denoiser for captions and, from that one, one for classes. What is
# done is skipped, so a killed run goes on where it was.
# Weights lie in OUTPUT/weights in the end; their configurations are in hy3dshape/weights/small.
#   bash scripts/train_small.sh [OUTPUT, default runs/small]
set -euo pipefail
output=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/small"}")
. "$(dirname "$0")/setup.sh"
workers=$(nproc)
weights=$output/weights
export OMP_NUM_THREADS=1

python data_curation/make_shapes.py --output "$output/shapes" --count 6000 --seed 7 --workers "$workers" \
  || [ $? -eq 3 ] # one shape is refused
python data_curation/split_dataset.py --input "$output/shapes" --ratios 0.94,0.01,0.05 --output "$output/split"
for part in train val test; do
  python data_curation/prepare_sdf.py --input "$output/split/$part.json" --output "$output/sdf/$part" \
    --volume-points 8000 --near-points 12000 --surface-points 8192 --workers "$workers"
  python data_curation/make_table.py --input "$output/split/$part.json" --output "$output/$part.csv" --caption mixed
done

samples=("dataset.params.dataset_folder=$output/sdf/train" "dataset.params.val_dataset_folder=$output/sdf/val"
  model.params.torch_compile=true)
pretrained=model.params.first_stage_config.params.pretrained.ckpt_path
train train_autoencoder.py Autoencoder/small autoencoder "${samples[@]}"
python hy3dshape/export_model.py --ckpt "$output/autoencoder" --dtype fp32 --output "$output/autoencoder.safetensors"
train train_autoencoder.py Autoencoder/small_finer finer "${samples[@]}" \
  "$pretrained=$output/autoencoder.safetensors"
python hy3dshape/export_model.py --ckpt "$output/finer" --dtype fp32 --output "$output/finer.safetensors"
mkdir -p "$weights"
cp hy3dshape/weights/small/autoencoder.yaml "$weights"
for name in decoder for_samples; do
  train train_autoencoder.py Autoencoder/small_$name $name "${samples[@]}" \
    "$pretrained=$output/finer.safetensors"
done
python hy3dshape/export_model.py --ckpt "$output/decoder" --output "$output/decoder.safetensors"
train train_autoencoder.py Autoencoder/small_curved curved "${samples[@]}" "$pretrained=$output/decoder.safetensors"
python hy3dshape/export_model.py --ckpt "$output/curved" --output "$weights/autoencoder.safetensors"
python hy3dshape/export_model.py --ckpt "$output/for_samples" \
  --output "$weights/autoencoder_for_samples.safetensors"
python hy3dshape/evaluate_autoencoder.py --input "$output/sdf/test" -c "$weights/autoencoder.yaml" \
  --output "$output/iou.json"

for part in train val; do
  python hy3dshape/encode_latents.py --input "$output/sdf/$part" -c "$weights/autoencoder.yaml" \
    --output "$output/latents/$part" --batch-size 32
done
data=("dataset.params.train_latent_folder=$output/latents/train" "dataset.params.train_csv_path=$output/train.csv"
  "dataset.params.val_latent_folder=$output/latents/val" "dataset.params.val_csv_path=$output/val.csv"
  "dataset.params.test_csv_path=$output/test.csv")
train main.py quickstart text "${data[@]}"
python hy3dshape/export_model.py --ckpt "$output/text" --output "$weights/model.safetensors"
train main.py quickstart_class class "${data[@]}" "model.params.ckpt_path=$weights/model.safetensors"
python hy3dshape/export_model.py --ckpt "$output/class" --output "$weights/class.safetensors"
python hy3dshape/plot_training.py --input "$output"/{autoencoder,finer,decoder,curved,for_samples,text,class} \
  --output "$weights/training.png"
