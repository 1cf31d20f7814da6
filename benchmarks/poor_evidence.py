"""Verdicts from poor evidence, and from repeated searches: simulated studies from the first trial on.

    python -m benchmarks.poor_evidence [--rounds 200]

benchmarks/whole_studies.py has the studies. A verdict is false if it calls a method the best that is not, or leaves out the truly best
one; the truth is that of a search with nothing lost and of training that is long enough. Printed: how often verdicts are
provisional, false, and false without being provisional; and how often the recommended method is the truly best or
within .01 of it, beside the share of resampled studies that the report itself says would pick it again.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from benchmarks.whole_studies import Spec, whole_study
from dashboards.findings.contest import contest
from dashboards.findings.verdict import Verdict, decide
from dashboards.statistics import chosen, standing

STUDIES = {
    "nothing wrong, equal methods": Spec(),
    "nothing wrong, lead .03": Spec(lead=0.03),
    "nothing wrong, lead .03, 1,000 rows": Spec(lead=0.03, rows=1000, methods=6),
    "nothing wrong, lead .03, configurations differ more": Spec(lead=0.03, rows=1000, spread=0.04),
    "(a) half of the trials lost, 4 trials, 3 seeds": Spec(methods=3, trials=4, lost=0.5, seeds=3),
    "(b) 2 trials, 2 seeds, a tenth of the training": Spec(methods=2, trials=2, seeds=2, trained=0.1),
    "(c) nothing learned": Spec(trained=0.0),
    "a third of the trials lost, lead .02": Spec(lost=0.3, lead=0.02),
    "a tenth of the trials lost, lead .02": Spec(lost=0.1, lead=0.02),
    "four tenths of the training, lead .02": Spec(trained=0.4, lead=0.02),
    "seven tenths of the training, lead .03": Spec(trained=0.7, lead=0.03),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    standing.DRAWS, chosen.DRAWS = 2000, 1000
    heads = (
        "studies",
        "best",
        "nothing learned",
        "provisional",
        "false",
        "false, not provisional",
        "picked again",
        "right",
    )
    print("| " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * (len(heads) - 1))
    for name, spec in STUDIES.items():
        counts = tally(spec, rounds)
        shares = [counts[head] / rounds for head in heads[1:6]]
        again = counts["picked again"] / counts["recommended"] if counts["recommended"] else float("nan")
        right = counts["right"] / counts["recommended"] if counts["recommended"] else float("nan")
        print(
            f"| {name} | " + " | ".join(f"{100 * share:.1f} %" for share in [*shares, again, right]) + " |",
            flush=True,
        )


def tally(spec: Spec, rounds: int) -> Counter[str]:
    """Counts over simulated studies; "picked again" is a sum of shares."""
    rng, counts = np.random.default_rng(4), Counter[str]()
    for _ in range(rounds):
        rows, truth = whole_study(spec, rng)
        verdict = decide(contest(rows))  # type: ignore[arg-type]
        names = [method["method"] for method in rows["methods"]]
        wrong = is_false(verdict, dict(zip(names, truth, strict=True)), spec.lead)
        counts[verdict.decision] += 1
        counts["provisional"] += bool(verdict.provisional)
        counts["false"] += wrong
        counts["false, not provisional"] += wrong and not verdict.provisional
        if verdict.method is not None and verdict.stability is not None:
            counts["recommended"] += 1
            counts["right"] += bool(truth[names.index(verdict.method)] >= truth.max() - 0.01)
            counts["picked again"] += verdict.stability  # type: ignore[assignment]
    return counts


def is_false(verdict: Verdict, truth: dict[str, float], lead: float) -> bool:
    """Whether a verdict claims what is not so."""
    best = max(truth, key=lambda name: truth[name])
    if verdict.decision == "best" and (lead == 0 or verdict.method != best):
        return True
    return bool(verdict.could_be_best) and lead > 0 and best not in verdict.could_be_best


if __name__ == "__main__":
    main()
