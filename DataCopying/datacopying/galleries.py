"""The parts of the report that show shapes. All functions return HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .fragments import esc, number, percent, times
from .pictures import Views
from .records import Query
from .selection import Row, Selection

_LISTED = 8  # generated shapes named under a copied training shape


@dataclass(frozen=True)
class Sources:
    """Renders by side; `test` None when held-out shapes are not shown."""

    generated: Views
    train: Views
    test: Views | None


def suspicious(result: Row, chosen: Selection, views: Sources) -> str:
    """The closest pairs: those with a flag, then those without."""
    more = result["excess"]["flagged"] - len(chosen.flagged)
    parts = []
    if chosen.flagged:
        rest = f" {times(more, 'more is', 'more are')} in the table of samples." if more else ""
        count = times(len(chosen.flagged), "flagged pair", "flagged pairs")
        parts.append(f"<h3>Flagged</h3><p>{count}, closest first.{rest}</p>")
        parts.append(_gallery(_pair(row, views) for row in chosen.flagged))
    if chosen.close:
        parts.append("<h3>Next closest, not flagged</h3>")
        parts.append(_gallery(_pair(row, views) for row in chosen.close))
    return "".join(parts) or "<p>No pairs were asked for.</p>"


def typical(chosen: Selection, views: Sources) -> str:
    if not chosen.typical:
        return "<p>All pairs are shown above.</p>"
    return _gallery(_pair(row, views) for row in chosen.typical)


def held_out(chosen: Selection, views: Sources) -> str:
    """A section of its own, empty when there are no renders of held-out shapes."""
    test = views.test
    if test is None or not chosen.held_out:
        return ""
    return (
        "<section><h2>The closest held-out shapes, for comparison</h2>"
        "<p>Real shapes the generator has never seen, and the training shapes nearest to them. "
        "This is how close chance comes.</p>"
        f"{_gallery(_held_out_pair(query, views, test) for query in chosen.held_out)}</section>"
    )


def copied(chosen: Selection, views: Sources) -> str:
    """Training shapes with flagged copies."""
    if not chosen.copied:
        return "<p>None: no generated shape is flagged.</p>"
    made = (_copied(row, views) for row in chosen.copied)
    return f'<div class="gallery three">{"".join(made)}</div>'


def _gallery(pairs: Iterable[str]) -> str:
    return f'<div class="gallery">{"".join(pairs)}</div>'


def _pair(row: Row, views: Sources) -> str:
    flag = '<span class="flag">flagged</span>' if row["flagged"] else ""
    facts = f"{percent(row['percentile'])} of held-out shapes are closer"
    if row["ratio_to_second"]:
        times_as_far = 1 / row["ratio_to_second"]
        digits = 1 if times_as_far < 10 else 0
        facts += f" · second nearest is {times_as_far:,.{digits}f} times as far"
    return (
        f'<article class="pair"><header><span class="rank">{row["rank"]:,}</span>{flag}'
        f'<span class="distance">distance <b>{number(row["distance"])}</b></span></header>'
        f"{_shape('generated', row['id'], row['category'], views.generated)}"
        f"{_shape('training', row['nearest_id'], row['nearest_category'], views.train)}"
        f'<p class="facts">{facts}</p></article>'
    )


def _held_out_pair(query: Query, views: Sources, test: Views) -> str:
    distance = query.distance if math.isfinite(query.distance) else None
    return (
        '<article class="pair"><header>'
        f'<span class="distance">distance <b>{number(distance)}</b></span></header>'
        f"{_shape('held-out', query.id, query.category, test)}"
        f"{_shape('training', query.nearest_id, query.nearest_category, views.train)}</article>"
    )


def _copied(row: Row, views: Sources) -> str:
    names = ", ".join(esc(name) for name in row["copies"][:_LISTED])
    more = len(row["copies"]) - _LISTED
    return (
        f'<article class="pair">{_shape("training", row["id"], row["category"], views.train)}'
        f'<p class="facts"><b>{times(row["flagged"], "flagged shape", "flagged shapes")}</b>: '
        f"{names}{f' and {more:,} more' if more > 0 else ''}. Nearest to {row['generated']:,} "
        f"generated and {row['held_out']:,} held-out shapes.</p></article>"
    )


def _shape(role: str, name: str | None, category: str | None, views: Views) -> str:
    """One shape: what it is, and its views or a line that says there are none."""
    label = f'<span class="role {role}">{role}</span>'
    if name is None:
        return f'<figure class="shape"><figcaption>{label} id not recorded</figcaption></figure>'
    kind = f' <span class="kind">{esc(category)}</span>' if category else ""
    uri = views.strip(name)
    picture = f'<div class="missing">no render of <b>{esc(name)}</b></div>'
    if uri is not None:
        picture = f'<img src="{uri}" alt="Views of the {role} shape {esc(name)}">'
    caption = f"<figcaption>{label} <b>{esc(name)}</b>{kind}</figcaption>"
    return f'<figure class="shape">{caption}{picture}</figure>'
