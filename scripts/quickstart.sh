#!/usr/bin/env bash
# The audit on shapes it makes itself: an honest generator and one that copies, both audited.
#   bash scripts/quickstart.sh [OUTPUT, default runs/quickstart]
set -euo pipefail
output=$(realpath -m -- "${1:-"$(dirname "$0")/../runs/quickstart"}")
. "$(dirname "$0")/setup.sh"
shapes=$output/shapes
workers=$(nproc)

make() { # folder, count, seed
  python data_curation/make_shapes.py --output "$shapes/$1" --count "$2" --seed "$3" \
    --workers "$workers" >&2
}
make train 300 1
make test 100 2
make honest 100 3
make fresh 80 4
# 20 of the copier's 100 samples are training shapes, slightly changed; their ids do not tell
python data_curation/disguise_shapes.py --input "$shapes/train/shapes.json" --output "$shapes/copies" \
  --disguise noise,decimate,rotate_small,stretch --pick one --strength 0.5 --count 20 --seed 5 --neutral-ids >&2
python data_curation/list_shapes.py --input "$shapes/fresh/shapes.json" "$shapes/copies/shapes.json" \
  --output "$shapes/copier/shapes.json" >&2

for generator in honest copier; do
  if [ "$generator" = copier ]; then # the descriptors of the same two sets serve again
    mkdir -p "$output/copier" && cp "$output/honest/"t*.lfd.* "$output/copier/"
  fi
  echo
  echo "=== the $generator generator"
  bash scripts/evaluate.sh --generated "$shapes/$generator" --train "$shapes/train" --test "$shapes/test" \
    --output "$output/$generator" --title "Quick start: the $generator generator"
done
echo
python - "$shapes/copies/shapes.json" "$output/copier/result.json" <<'END'
import json, pathlib, sys
copies, result = (json.loads(pathlib.Path(p).read_text()) for p in sys.argv[1:])
sources = {row["id"]: row["copied_from"] for row in copies["shapes"]}
flagged = [row for row in result["samples"] if row["flagged"]]
found = [row for row in flagged if sources.get(row["id"]) == row["nearest_id"]]
print(f"Of the {len(sources)} planted copies {len(found)} are flagged, each with its source;"
      f" {len(flagged) - len(found)} of the {len(result['samples']) - len(sources)} others are.")
END
