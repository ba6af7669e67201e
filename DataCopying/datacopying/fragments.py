"""Small pieces of HTML and numbers in words. Every text from outside goes through `esc`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


def esc(value: object) -> str:
    """Text for HTML, quotes and all; control characters are shown as a replacement mark."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(value))
    return html.escape(text, quote=True)


def number(value: float | None, digits: int = 4) -> str:
    """Significant digits with a true minus sign; None is infinite."""
    if value is None:
        return "∞"
    text = f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"
    return text.replace("-", "\u2212")


def signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def percent(share: float, sign: bool = False) -> str:
    text = f"{100 * share:+.1f}" if sign else f"{100 * share:.1f}"
    return text.replace("-", "\u2212") + "\u202f%"


def chance(p: float | None) -> str:
    if p is None:
        return "not defined"
    return "&lt;\u202f0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def times(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def whisker(
    value: float, interval: Sequence[float] | None, reference: float, span: tuple[float, float]
) -> str:
    """A scale with a reference line, the interval as a bar and the value as a dot.

    Args:
        span: least and greatest value of the scale; widened to hold all that is drawn.
    """
    drawn = [value, reference, *(interval or ())]
    low, high = min([span[0], *drawn]), max([span[1], *drawn])

    def x(v: float) -> str:
        return f"{4 + 192 * (v - low) / ((high - low) or 1):.1f}"

    bar = ""
    if interval:
        bar = f'<line class="bar" x1="{x(interval[0])}" x2="{x(interval[1])}" y1="9" y2="9"/>'
    return (
        '<svg class="whisker" viewBox="0 0 200 18" aria-hidden="true">'
        '<line class="axis" x1="4" x2="196" y1="9" y2="9"/>'
        f'<line class="reference" x1="{x(reference)}" x2="{x(reference)}" y1="2" y2="16"/>'
        f'{bar}<circle cx="{x(value)}" cy="9" r="4"/></svg>'
    )


def card(title: str, figure: str, under: str, scale: str, reading: str, limit: str) -> str:
    """A number with its interval, its meaning and what it cannot tell; all arguments are HTML."""
    return (
        f'<article class="card"><h3>{title}</h3><p class="figure">{figure}</p>'
        f'<p class="under">{under}</p>{scale}<p>{reading}</p><p class="limit">{limit}</p></article>'
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numeric_from: int) -> str:
    """Cells are HTML; columns from `numeric_from` on are aligned to the right."""

    def line(cells: Sequence[str], tag: str) -> str:
        made = (
            f'<{tag} class="n">{c}</{tag}>' if i >= numeric_from else f"<{tag}>{c}</{tag}>"
            for i, c in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return (
        f'<div class="scroll"><table><thead>{line(heads, "th")}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """A list of names and values; values are HTML."""
    return f"<dl>{''.join(f'<dt>{esc(name)}</dt><dd>{value}</dd>' for name, value in rows)}</dl>"


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested object as (dotted name, text) rows."""
    if isinstance(value, dict) and value:
        return [row for k, v in value.items() for row in flat(v, f"{prefix}.{k}" if prefix else k)]
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    return [(prefix, str(value))]
