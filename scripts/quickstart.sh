#!/usr/bin/env bash
# The audit of the small generator of hy3dshape, and of one that copies: every fifth of its samples
# is a training shape, slightly changed. The small model's training shapes are made once more.
#   bash scripts/quickstart.sh [OUTPUT, default runs/quickstart]
set -euo pipefail
output=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/quickstart"}")
. "$(dirname "$0")/setup.sh"
workers=$(nproc)
split=$output/split

# as in train_small.sh
python data_curation/make_shapes.py --output "$output/shapes" --count 6000 --seed 7 --workers "$workers" >&2 ||
  [ $? -eq 3 ]
python data_curation/split_dataset.py --input "$output/shapes" --ratios 0.94,0.01,0.05 --output "$split" >&2
python data_curation/make_table.py --input "$split/test.json" --output "$output/test.csv" --caption mixed >&2

# a sample for every third caption of the held-out shapes, a fifth of them in a folder of its own
awk 'NR == 1 || NR < 302 && NR % 3 == 2 && NR % 15 != 2' "$output/test.csv" >"$output/most.csv"
awk 'NR == 1 || NR < 302 && NR % 15 == 2' "$output/test.csv" >"$output/rest.csv"
for part in most rest; do
  python hy3dshape/inference.py --csv "$output/$part.csv" --out_dir "$output/samples/$part" --resolution 64 >&2
done
# for these the copier has training shapes; their ids do not tell
python data_curation/disguise_shapes.py --input "$split/train.json" --output "$output/copies" \
  --disguise noise,decimate,rotate_small,stretch --pick one --strength 0.5 --count 20 --seed 5 --neutral-ids >&2
list() { # name, inputs
  python data_curation/list_shapes.py --input "${@:2}" --output "$output/$1.json" >&2
}
list small "$output/samples/most" "$output/samples/rest"
list copier "$output/samples/most" "$output/copies/shapes.json"

for generator in small copier; do
  if [ "$generator" = copier ]; then # what was computed of the same two sets serves again
    mkdir -p "$output/copier/embeddings" && cp "$output/small/"t*.lfd.* "$output/copier/"
    cp "$output/small/embeddings/"t* "$output/copier/embeddings/"
  fi
  echo
  echo "=== the $generator generator"
  bash scripts/evaluate.sh --generated "$output/$generator.json" --train "$split/train.json" --test "$split/test.json" \
    --output "$output/$generator" --title "Quick start: the $generator generator"
done
echo
python - "$output/copies/shapes.json" "$output/copier/result.json" <<'END'
import json, pathlib, sys
copies, result = (json.loads(pathlib.Path(p).read_text()) for p in sys.argv[1:])
sources = {row["id"]: row["copied_from"] for row in copies["shapes"]}
flagged = [row for row in result["samples"] if row["flagged"]]
found = [row for row in flagged if sources.get(row["id"]) == row["nearest_id"]]
print(f"Of the {len(sources)} planted copies {len(found)} are flagged, each with its source;"
      f" {len(flagged) - len(found)} of the {len(result['samples']) - len(sources)} others are.")
END
