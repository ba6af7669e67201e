#!/usr/bin/env bash
# Audit a generator: does it copy its training shapes, which samples are copies, how sure can we be?
#
#   bash scripts/evaluate.sh --generated DIR --train DIR --test DIR --output DIR
#        [--workers N] [--pairs N] [--up file|y|z] [--title TEXT] [--overwrite] [--duplicates]
#        [--encoder NAME | --embeddings DIR]
#
# Each set is a folder of meshes, a shapes.json or a text list of paths. Writes to the output folder
# descriptors (*.lfd.npz), neighbours (*.neighbours.json), result.json, samples (result.csv), renders
# and report.html. What is done is skipped, so a killed run goes on where it was. Embeddings of the
# three sets by an encoder of fpd_eval/embed.py (default pointnet; none: without), or those of a folder
# (train.npz, test.npz, generated.npz), add C_T and, as quality.json and in the report, the Frechet
# distance and its relatives. With --duplicates the training shapes are searched among themselves, to
# tell whether those with near-duplicates are copied more. Exit 3: done, but some meshes failed (see
# the failures.json files).
set -euo pipefail

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
fail() { echo "evaluate.sh: $1" >&2; exit 2; }

generated='' train='' test='' output='' embeddings='' encoder=pointnet title='' pairs=24 up=file
overwrite=() duplicates=''
workers=$(nproc)
while [ $# -gt 0 ]; do
  case $1 in
    --overwrite) overwrite=(--overwrite); shift; continue ;;
    --duplicates) duplicates=1; shift; continue ;;
    -h | --help) usage ;;
  esac
  [ $# -ge 2 ] || fail "$1 needs a value"
  case $1 in
    --generated | --train | --test | --output | --embeddings) printf -v "${1#--}" %s "$(realpath -m -- "$2")" ;;
    --workers | --pairs | --up | --title | --encoder) printf -v "${1#--}" %s "$2" ;;
    *) fail "unknown flag $1; see --help" ;;
  esac
  shift 2
done
for name in generated train test output; do
  [ -n "${!name}" ] || fail "--$name is missing; see --help"
done
for name in generated train test; do
  [ -e "${!name}" ] || fail "--$name ${!name}: not found"
done
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
some_failed=0

# Run one step with stdout on stderr; remember exit 3 (some items failed), stop at any other failure.
step() {
  local code=0
  "$@" >&2 || code=$?
  case $code in
    0) ;;
    3) some_failed=3 ;;
    *) exit "$code" ;;
  esac
}

mkdir -p "$output"
for name in train test generated; do
  step python retrieval/extract_lfd.py --input "${!name}" --output "$output/$name.lfd.npz" \
    --workers "$workers" "${overwrite[@]}"
done
for name in test generated; do
  step python retrieval/retrieve.py --query "$output/$name.lfd.npz" --database "$output/train.lfd.npz" \
    --topk 5 --workers "$workers" --output "$output/$name.neighbours.json" "${overwrite[@]}"
done

options=()
if [ -n "$duplicates" ]; then
  step python retrieval/retrieve.py --query "$output/train.lfd.npz" --database "$output/train.lfd.npz" \
    --exclude-self --workers "$workers" --output "$output/train.neighbours.json" "${overwrite[@]}"
  options+=(--train-neighbours "$output/train.neighbours.json")
fi
lists=()
for name in train test generated; do
  list=${!name}
  [ -d "$list" ] && list=$list/shapes.json
  case $list in *.json) [ -f "$list" ] && lists+=("$list") ;; esac
done
[ ${#lists[@]} -eq 3 ] && options+=(--categories "${lists[@]}")
if [ -z "$embeddings" ] && [ "$encoder" != none ]; then
  embeddings=$output/embeddings
  for name in train test generated; do
    step python fpd_eval/embed.py --input "${!name}" --output "$embeddings/$name.npz" --encoder "$encoder" \
      --workers "$workers" "${overwrite[@]}"
  done
fi
if [ -n "$embeddings" ]; then
  options+=(--train-embeddings "$embeddings/train.npz" --test-embeddings "$embeddings/test.npz"
    --gen-embeddings "$embeddings/generated.npz")
fi
python DataCopying/datacopying_test.py "$output/generated.neighbours.json" "$output/test.neighbours.json" \
  --output "$output/result.json" "${options[@]}"
quality=()
if [ -n "$embeddings" ]; then
  echo
  python fpd_eval/npz_eval.py "$embeddings/train.npz" "$embeddings/generated.npz" \
    --test "$embeddings/test.npz" --metrics all --output "$output/quality.json"
  quality=(--quality "$output/quality.json")
fi

for name in generated train test; do
  python DataCopying/memorization_report.py "$output/result.json" --pairs "$pairs" \
    --list-ids "$name" >"$output/$name.ids.txt"
  step python data_curation/render_views.py --input "${!name}" --ids "$output/$name.ids.txt" \
    --output "$output/renders/$name" --views 4 --up "$up" --workers "$workers" "${overwrite[@]}"
done
step python DataCopying/memorization_report.py "$output/result.json" --pairs "$pairs" \
  --generated-views "$output/renders/generated" --train-views "$output/renders/train" \
  --test-views "$output/renders/test" \
  "${quality[@]}" --title "${title:-$(basename "$generated")}" --output "$output/report.html"
echo "report: $output/report.html"
exit $some_failed
