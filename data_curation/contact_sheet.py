"""One picture of many shapes: the pictures of render_views.py in rows, each over its id.

Example: python contact_sheet.py --input renders --output sheet.png --columns 10
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_curation import cli

CAPTION = 14  # pixels below a picture


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "limit")
    parser.add_argument("--input", type=Path, required=True, help="folder of render_views.py")
    parser.add_argument("--output", type=Path, required=True, help="the .png to write")
    parser.add_argument("--columns", type=int, default=10, help="shapes a row (default 10)")
    parser.add_argument("--view", type=int, default=0, help="which picture of a shape (default 0)")
    parser.add_argument("--size", type=int, default=128, help="pixels of a picture (default 128)")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    from PIL import Image, ImageDraw

    from data_curation import files

    if min(args.columns, args.size) < 1:
        raise ValueError(f"--columns {args.columns} --size {args.size}: expected 1 or more")
    pictures = sorted(args.input.rglob(f"view_{args.view:02d}.png"))[: args.limit]
    if not pictures:
        raise ValueError(f"{args.input}: no view_{args.view:02d}.png; make it with render_views.py")
    rows = -(-len(pictures) // args.columns)
    sheet = Image.new("RGB", (args.columns * args.size, rows * (args.size + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, path in enumerate(pictures):
        x, y = i % args.columns * args.size, i // args.columns * (args.size + CAPTION)
        with Image.open(path) as picture:
            sheet.paste(picture.convert("RGB").resize((args.size, args.size)), (x, y))
        name = path.parent.relative_to(args.input).as_posix()
        if draw.textlength(name) > args.size:  # its end, which tells ids apart
            cut = (k for k in range(len(name)) if draw.textlength("…" + name[k:]) <= args.size)
            name = "…" + name[next(cut, len(name)) :]
        draw.text((x + args.size // 2, y + args.size), name, "black", anchor="ma")
    with files.replacing(args.output) as temporary:
        sheet.save(temporary, format="PNG")
    print(f"{args.output}: {len(pictures)} shapes")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
