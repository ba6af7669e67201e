#!/usr/bin/env bash
# How good the small model is: ten samples of each category and the category of the nearest training
# shape (light field distance), whether their meshes are closed and in one piece, a contact sheet;
# and the audit of 200 samples for captions of held-out shapes. The training shapes are made again.
#   bash scripts/evaluate_small.sh [OUTPUT, default runs/evaluate_small]
set -euo pipefail
output=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/evaluate_small"}")
. "$(dirname "$0")/setup.sh"
workers=$(nproc)
small=hy3dshape/weights/small
split=$output/split

python data_curation/make_shapes.py --output "$output/shapes" --count 6000 --seed 7 --workers "$workers" >&2 ||
  [ $? -eq 3 ] # as in train_small.sh
python data_curation/split_dataset.py --input "$output/shapes" --ratios 0.94,0.01,0.05 --output "$split" >&2
python data_curation/make_table.py --input "$split/test.json" --output "$output/test.csv" --caption mixed >&2
awk 'NR == 1 || NR % 3 != 2' "$output/test.csv" >"$output/captions.csv"
python - $small/classes.json "$output/names.csv" <<'END'
import json, pathlib, sys
classes, table = map(pathlib.Path, sys.argv[1:])
names = [n for n in sorted(json.loads(classes.read_text())) for _ in range(10)]
lines = [f"{n}_{i % 10},{n},{'an' if n[0] in 'aeiou' else 'a'} {n.replace('_', ' ')}" for i, n in enumerate(names)]
table.write_text("\n".join(["model_uid,lvis_category,caption", *lines]) + "\n")
END

python hy3dshape/inference.py --csv "$output/names.csv" --out_dir "$output/text" >&2
python hy3dshape/inference.py --csv "$output/names.csv" --out_dir "$output/class" \
  --config $small/class.yaml --ckpt $small/class.safetensors >&2
python hy3dshape/inference.py --csv "$output/captions.csv" --out_dir "$output/captions" >&2
bash scripts/evaluate.sh --generated "$output/captions" --train "$split/train.json" --test "$split/test.json" \
  --output "$output/audit" --title "The small generator: 200 samples for held-out captions"

for kind in text class; do
  python retrieval/extract_lfd.py --input "$output/$kind" --output "$output/$kind.lfd.npz" --workers "$workers" >&2
  python retrieval/retrieve.py --query "$output/$kind.lfd.npz" --database "$output/audit/train.lfd.npz" \
    --topk 1 --workers "$workers" --output "$output/$kind.neighbours.json" >&2
  python data_curation/render_views.py --input "$output/$kind" --output "$output/$kind.views" --views 1 \
    --size 128 --workers "$workers" -q >&2
  python data_curation/contact_sheet.py --input "$output/$kind.views" --output "$output/$kind.png" >&2
done
python - "$output" <<'END'
import json, pathlib, sys
import trimesh
output = pathlib.Path(sys.argv[1])
for kind in ("text", "class"):
    nearest = json.loads((output / f"{kind}.neighbours.json").read_text())
    asked = {k: k.rpartition("/")[2].rsplit("_", 1)[0] for k in nearest}
    right = {k: asked[k] == v[0]["category_id"] for k, v in nearest.items()}
    meshes = [trimesh.load(p, force="mesh") for p in sorted((output / kind).rglob("*.glb"))]
    closed = sum(m.is_watertight for m in meshes)
    single = sum(m.body_count == 1 for m in meshes)
    print(f"{kind}: {sum(right.values())} of {len(right)} samples have a nearest training shape of the category"
          f" asked for; {closed} of {len(meshes)} meshes are closed, {single} in one piece")
    names = sorted(set(asked.values()))
    print("  " + ", ".join(f"{n} {sum(right[k] for k in right if asked[k] == n)}" for n in names))
END
