"""Unpack the 820 furniture models of Sweet Home 3D with their names, tags, licences and sizes.

Source: the Debian package sweethome3d-furniture (--deb), its catalogues (--sh3f), or, with neither,
the package fetched with `apt-get download`, which needs no root. Writes DIR/<id>/ with the OBJ, MTL
and textures of each model, DIR/licences/ and DIR/shapes.json. Models are kept as they are; `up` and
`rotation` in shapes.json say how one that is not y-up is turned. Existing models are skipped.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from data_curation import cli, files, furniture, shapes_index

log = logging.getLogger(__name__)
PACKAGE = "sweethome3d-furniture"


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "limit", "overwrite")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to fill")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--deb", type=Path, help="the package as a file")
    source.add_argument("--sh3f", type=Path, nargs="+", help="catalogues as files")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    with tempfile.TemporaryDirectory() as scratch:
        catalogues = args.sh3f or furniture.unpack_deb(
            args.deb or _download(scratch), Path(scratch)
        )
        if (Path(scratch) / "copyright").is_file():
            _keep(Path(scratch) / "copyright", args.output / "licences" / f"{PACKAGE}.txt")
        return _run(args, catalogues)


def _download(scratch: str) -> Path:
    if shutil.which("apt-get") is None:
        raise ValueError(f"apt-get is not installed; get {PACKAGE}_*.deb and pass it with --deb")
    command = ["apt-get", "download", PACKAGE]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
    found = sorted(Path(scratch).glob("*.deb"))
    if done.returncode or not found:
        reason = done.stderr.strip().splitlines()[-1:] or ["no package came"]
        raise ValueError(f"{' '.join(command)}: {reason[0]}; pass the package with --deb")
    return found[0]


def _run(args: Any, catalogues: Sequence[Path]) -> int:
    records: dict[str, dict[str, Any]] = {}
    failures: list[dict[str, str]] = []
    count: Counter[str] = Counter()
    for path in catalogues:
        try:
            catalogue = furniture.Catalogue(path)
            _keep_licences(catalogue, args.output / "licences")
        except ValueError as error:
            failures.append({"id": path.name, "stage": "catalogue", "error": str(error)})
            continue
        for number in tqdm(catalogue.numbers(), desc=path.stem, disable=args.quiet or None):
            if args.limit is not None and len(records) >= args.limit:
                break
            try:
                model = catalogue.model(number)
                if model.id in records:
                    raise ValueError(f"{path}: id {model.id!r} comes twice")
                count[_place(catalogue, model, args.output, args.overwrite)] += 1
                records[model.id] = model.record
            except ValueError as error:
                name = f"{path.stem}#{number}"
                failures.append({"id": name, "stage": "model", "error": str(error)})
    if not records:
        sources = ", ".join(map(str, catalogues))
        raise ValueError(failures[0]["error"] if failures else f"{sources}: no model in it")
    return _finish(args, catalogues, records, failures, count)


def _finish(
    args: Any,
    catalogues: Sequence[Path],
    records: dict[str, dict[str, Any]],
    failures: list[dict[str, str]],
    count: Counter[str],
) -> int:
    shapes_index.write_index(args.output / "shapes.json", records.values())
    files.write_failures(args.output, failures)
    counts = {**count, "models": len(records), "failed": len(failures)}
    hashes = {path.name: files.sha256(path) for path in catalogues}
    files.write_run(args.output, {"catalogues": hashes}, counts)
    for failure in failures:
        log.error("%s: %s", failure["id"], failure["error"])
    groups = len({row["category"] for row in records.values()})
    print(f"{args.output / 'shapes.json'}: {len(records)} models of {groups} categories", end="")
    print(f" ({count['written']} written, {count['existed']} existed, {len(failures)} failed)")
    return cli.SOME_FAILED if failures else cli.OK


def _place(
    catalogue: furniture.Catalogue, model: furniture.Model, output: Path, overwrite: bool
) -> str:
    """Write the files of a model under output/<id>; the folder appears only when it is complete."""
    target, partial = output / model.id, output / f".{model.id}.partial"
    folder = PurePosixPath(model.member).parent
    infos = [catalogue.archive.getinfo(name) for name in model.files]
    local = {info.filename: str(PurePosixPath(info.filename).relative_to(folder)) for info in infos}
    if target.is_dir() and not overwrite and _complete(target, infos, local):
        return "existed"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for info in infos:
            path = partial / local[info.filename]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(catalogue.read(info.filename))
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return "written"


def _complete(target: Path, infos: Sequence[zipfile.ZipInfo], local: dict[str, str]) -> bool:
    paths = [(target / local[info.filename], info.file_size) for info in infos]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _keep_licences(catalogue: furniture.Catalogue, folder: Path) -> None:
    for member in catalogue.licences():
        with files.replacing(folder / f"{catalogue.path.stem}.{member}") as temporary:
            temporary.write_bytes(catalogue.read(member))


def _keep(source: Path, target: Path) -> None:
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)


if __name__ == "__main__":
    raise SystemExit(main())
