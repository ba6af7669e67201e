"""The finding in words. Flagged samples come first: a set-level score can hide them."""

from __future__ import annotations

from .excess import Rule
from .zu import Zu

FEW = 50  # shapes on a side below which intervals are rough
ALPHA = 0.05


def finding(flagged: int, p_more: float) -> str:
    """`none`: no flag; `copies`: more flags than chance explains; `chance`: some, but no more."""
    if not flagged:
        return "none"
    return "copies" if p_more < ALPHA else "chance"


def sentence(
    zu: Zu,
    rule: Rule,
    quantile: float,
    flagged: int,
    interval: tuple[float, float],
    confidence: float,
    p_more: float,
) -> str:
    """One or two plain sentences: flagged samples with interval, chance level, then Z_U.

    Args:
        flagged:  number of the zu.m generated shapes that `rule` flags.
        interval: of the flagged share, at `confidence`.
        p_more:   chance of that many flags when both sets are alike.
    """
    low, high = (f"{100 * end:.1f}" for end in interval)
    share = f"{100 * flagged / zu.m:.1f} %, {100 * confidence:g} % interval {low}-{high} %"
    count = str(flagged) if flagged else "None"
    verb = "are" if flagged > 1 else "is"
    closer = (
        f"{100 * (1 - quantile):g} % of held-out shapes are"
        if rule.resolved
        else f"every one of the {rule.n} held-out shapes is"
    )
    return (
        f"{count} of {zu.m} generated shapes ({share}) {verb} closer to a training shape than "
        f"{closer}; by chance we expect {_count(zu.m * rule.rate)}"
        f"{_against_chance(flagged, p_more)}. {overall(zu)}"
    )


def _count(expected: float) -> str:
    """An expected number of shapes: one digit after the point, none where it is whole."""
    text = f"{expected:.1f}" if expected >= 0.1 else f"{expected:.2g}"
    return text.removesuffix(".0")


def _against_chance(flagged: int, p_more: float) -> str:
    kind = finding(flagged, p_more)
    if kind == "copies":
        return f", so chance does not explain them (p {_p(p_more)})"
    return f", so chance alone explains them (p {_p(p_more)})" if kind == "chance" else ""


def overall(zu: Zu) -> str:
    """What Z_U says about the set as a whole."""
    head = f"Overall Z_U = {zu.z_u:+.1f} ({zu.m} generated, {zu.n} held-out): "
    if zu.p_less is None:
        return head + "all distances are equal, so the sets cannot be told apart."
    if zu.p_less < ALPHA:
        return head + f"the set as a whole leans to the training data (p {_p(zu.p_less)})."
    if zu.p_less > 1 - ALPHA:
        return head + (
            "the set as a whole does not lean to the training data; it lies farther away than "
            "held-out shapes do, which can hide copies from this number."
        )
    return head + "the set as a whole does not lean to the training data."


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def warnings(zu: Zu, rule: Rule, quantile: float, zero_test: int, tied: int) -> list[str]:
    """What limits the numbers.

    Args:
        zero_test: held-out shapes at distance 0.
        tied:      generated shapes exactly at the threshold.
    """
    found = []
    for side, size in (("generated", zu.m), ("held-out", zu.n)):
        if size < FEW:
            found.append(f"only {size} {side} shapes: intervals are rough below {FEW}")
    if not rule.resolved:
        found.append(
            f"{zu.n} held-out shapes cannot resolve the {100 * quantile:g} % quantile (it takes "
            f"{_needed(quantile)}): the smallest held-out distance is the threshold and the "
            f"false-positive rate is 1/{zu.n + 1} = {100 * rule.rate:.2g} %; the interval of the "
            "excess share is too narrow then"
        )
    if zero_test:
        found.append(
            f"{zero_test} of {zu.n} held-out shapes are at distance 0 from a training shape: "
            "training and test set share shapes, split them again"
        )
    if rule.threshold == 0:
        found.append("the threshold is 0, so nothing can be flagged, not even exact copies")
    elif tied:
        found.append(f"ties: generated shapes exactly at the threshold, not flagged: {tied}")
    return found


def _needed(quantile: float) -> int:
    """Fewest held-out shapes n with quantile * (n + 1) >= 1."""
    n = int(1 / quantile)
    return next(size for size in range(max(n - 2, 1), n + 3) if quantile * (size + 1) >= 1 - 1e-12)
