"""Between which scores a metric lies."""

from __future__ import annotations

from collections.abc import Iterable

SHARE, CORRELATION = (0.0, 1.0), (-1.0, 1.0)
_RANGES = {
    **dict.fromkeys(("accuracy", "macro_f1", "entity_f1", "f1", "exact_match", "rouge_l", "bleu"), SHARE),
    **dict.fromkeys(("matthews_correlation", "pearson", "spearman"), CORRELATION),
}


def score_range(metrics: Iterable[str]) -> tuple[float, float] | None:
    """The least and the highest score that the mean, or the lowest, of these metrics can have.

    None if one has no bounds, as minus a perplexity, or none that are known, as a metric of another package.
    """
    found = [_RANGES.get(metric) for metric in metrics]
    known = [bounds for bounds in found if bounds is not None]
    if len(known) < len(found) or not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)
