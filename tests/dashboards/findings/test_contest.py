"""The contest of a study: who is in it, what the search adds, and who gets more seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.poor_evidence import is_false, tally
from benchmarks.whole_studies import Spec, whole_study
from dashboards.findings import samples
from dashboards.findings.contest import contest
from dashboards.findings.more_seeds import undecided, would_decide
from dashboards.findings.search_spread import search_spread
from dashboards.findings.stability import stability
from dashboards.findings.verdict import decide
from dashboards.statistics import standing
from dashboards.statistics.joint import SEEDS
from dashboards.statistics.looks import levels

Rows = Any
"""Result rows, free to be edited."""


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "DRAWS", 1000)


def simulated(seed: int = 0, **facts: Any) -> Rows:
    return whole_study(Spec(**facts), np.random.default_rng(seed))[0]


def test_contenders_are_ordered_by_all_that_is_deployed() -> None:
    rows = simulated()
    for price, finalist in zip((5, 3, 4, 3), [f for f in rows["finalists"] if f["chosen"]], strict=True):
        finalist.update(deployed_parameters=1, head_parameters=price)
    found = contest(rows)
    assert [each.price for each in found.contenders] == [4, 4, 5, 6]
    assert found.contenders[0].mean >= found.contenders[1].mean


def test_an_interval_ends_where_no_score_can_be() -> None:
    """Before, two methods whose searches differ much had an interval of -0.10 to 0.40 in entity F1."""
    rows = simulated(methods=2, seeds=3, rows=50, top=0.97, seed_std=0.03)
    found = contest(rows)
    estimate = found.joint.mean(0)
    assert estimate.ci_low is not None
    assert estimate.ci_high is not None
    assert estimate.ci_high > 1
    assert found.within(estimate) == estimate
    rows["objective"]["range"] = (0.0, 1.0)
    ends = (report := found.within(estimate)).ci_low, report.ci_high
    assert ends == (estimate.ci_low, 1.0)
    assert report.mean == estimate.mean


def test_a_configuration_that_is_far_worse_adds_little() -> None:
    """Before, one method whose second configuration had learned nothing made every interval as wide as its gap."""
    rows = simulated(methods=5)
    before = search_spread(rows)
    other = next(f for f in rows["finalists"] if not f["chosen"])
    for run in other["runs"]:
        run["test"] -= 0.3
        run["test_task_scores"]["task"] -= 0.3
        run["examples"]["task"] = [hit - 0.3 for hit in run["examples"]["task"]]
    after = search_spread(rows)
    assert before is not None
    assert after is not None
    assert after.raw < 0.1 * 0.3**2 / 2 / 5


def test_a_method_that_lost_seeds_is_compared_on_two() -> None:
    """Before, a dear method with one failed seed was not named, and another was better than every other method."""
    rows = simulated()
    runs = next(f for f in rows["finalists"] if f["chosen"])["runs"]
    for run in runs[:3]:
        run.update(state="FAIL", test=None, examples=None)
    found = contest(rows)
    assert len(found.contenders) == 4
    assert [each.failed_seeds for each in found.contenders if each.failed_seeds] == [3]
    runs[3].update(state="FAIL", test=None, examples=None)
    assert contest(rows).untested == {"method_0": "failed with 4 of 5 seeds"}


def test_the_score_of_the_worst_task_has_its_examples() -> None:
    rows = simulated()
    rows["tasks"] = [{"name": "task"}, {"name": "other"}]
    rows["objective"]["over_tasks"] = "worst"
    finalist = next(f for f in rows["finalists"] if f["chosen"])
    for run in finalist["runs"]:
        run["examples"]["other"] = [1.0] * 50
        run["test_task_scores"]["other"] = 1.0
    sample = samples.tested_sample(rows, finalist)
    assert sample is not None
    assert sample.tables[0].mean() == pytest.approx(sample.mean)
    assert not sample.tables[1].any()


def test_groups_of_test_examples_widen_the_interval() -> None:
    """Copies of the same example tell nothing new."""
    rows = simulated()
    for finalist in rows["finalists"]:
        for run in finalist["runs"]:
            run["examples"]["task"] = [hit for hit in run["examples"]["task"] for _ in range(4)]
    rows["trivial"] = None
    (alone, _), *_ = contest(rows).joint.examples
    rows["test_groups"] = {"task": [index // 4 for index in range(1600)]}
    (grouped, freedom), *_ = contest(rows).joint.examples
    assert grouped == pytest.approx(4 * alone, rel=0.01)
    assert freedom == pytest.approx(399)


def test_a_metric_without_scores_per_example_covers_seeds_and_claims_nothing() -> None:
    rows = simulated(lead=0.1)
    for finalist in rows["finalists"]:
        for run in finalist["runs"]:
            run["examples"] = None
    rows["trivial"] = None
    found = contest(rows)
    assert found.joint.covers == SEEDS
    assert decide(found).decision == "tied"
    assert "no difference is claimed" in decide(found).reason


def test_the_search_is_part_of_an_interval() -> None:
    """Configurations that differ widen the intervals; before, three repeats of a study were .05 apart."""
    narrow, wide = (
        [simulated(seed, spread=spread, rows=2000, top=0.9) for seed in range(5)] for spread in (0.0001, 0.2)
    )
    found = [[spread.variance for rows in each if (spread := search_spread(rows))] for each in (narrow, wide)]
    assert len(found[0]) == len(found[1]) == 5
    assert 4 * sum(found[0]) < sum(found[1])
    assert contest(wide[0]).joint.search == search_spread(wide[0])
    one = simulated()
    one["finalists"] = [f for f in one["finalists"] if f["chosen"]]
    assert search_spread(one) is None


def test_the_default_is_no_configuration_that_a_search_ends_with() -> None:
    rows = simulated()
    for finalist in rows["finalists"]:
        finalist["role"] = finalist["role"] if finalist["chosen"] else "default"
    assert search_spread(rows) is None


def test_tied_methods_get_more_seeds_while_there_is_a_look() -> None:
    rows = simulated(seed_std=0.03)
    assert undecided(rows) == []
    rows["seeds"] = {"num_seeds": 5, "max_seeds": 10, "looks": [5, 10]}
    found = contest(rows)
    assert found.level == levels((5, 10))[0]
    assert undecided(rows) == [found.contenders[index].method for index in found.standing.members]
    for finalist in rows["finalists"]:
        finalist["runs"] = [*finalist["runs"], *finalist["runs"]]
    assert undecided(rows) == []


def test_seeds_that_agree_get_no_more_seeds_and_the_whole_level() -> None:
    rows = simulated(seed_std=0.0)
    rows["seeds"] = {"num_seeds": 5, "max_seeds": 10, "looks": [5, 10]}
    for finalist in rows["finalists"]:
        for run in finalist["runs"]:
            run.update({key: finalist["runs"][0][key] for key in ("test", "examples", "test_task_scores")})
    assert contest(rows).level == 0.05
    assert undecided(rows) == []


def test_what_would_decide_is_seeds_or_rows() -> None:
    kinds = set()
    for seed in range(30):
        found = contest(simulated(seed, seed_std=0.04, rows=2000, spread=0.001))
        decides = would_decide(found)
        assert decides is None or found.standing.best or decides["for"] == found.leader.method
        if decides is not None:
            kinds.add("seeds" if decides["seeds"] else "rows")
            assert decides["seeds"] is None or decides["seeds"] > 5
    assert "seeds" in kinds


def test_a_clear_leader_is_picked_again() -> None:
    assert stability(contest(simulated(lead=0.15, top=0.7))) == pytest.approx(1.0, abs=0.02)
    tied = [stability(contest(simulated(seed))) or 1.0 for seed in range(5)]
    assert np.mean(tied) < 0.9


@pytest.mark.parametrize(
    "facts",
    [
        {"methods": 3, "trials": 4, "lost": 0.5, "seeds": 3},
        {"methods": 2, "trials": 2, "seeds": 2, "trained": 0.1},
        {"trained": 0.0},
        {"trained": 0.5, "lead": 0.02},
    ],
    ids=["half lost", "two trials", "nothing learned", "few steps"],
)
def test_poor_evidence_makes_no_false_verdict(facts: dict[str, Any]) -> None:
    """Each was seen on a real study as a winner: lost trials, two trials with two seeds, one class for all."""
    counts = tally(Spec(**facts), 40)
    assert counts["false, not provisional"] <= 1
    assert counts["provisional"] + counts["nothing learned"] >= 30


def test_both_methods_answer_one_class() -> None:
    rows = simulated(methods=2)
    for finalist in rows["finalists"]:
        for run in finalist["runs"]:
            run.update(examples={"task": rows["trivial"]["examples"]["task"]}, test=rows["trivial"]["test"])
    found = decide(contest(rows))
    assert (found.decision, found.method, found.could_be_best) == ("nothing learned", None, [])
    assert "always 'positive'" in found.reason


def test_what_is_false_is_what_the_benchmark_counts() -> None:
    found = decide(contest(simulated(lead=0.15, top=0.7)))
    assert found.decision == "best"
    assert not is_false(
        found,
        {name: float(name == found.method) for name in ("method_0", "method_1", "method_2", "method_3")},
        0.15,
    )
    assert is_false(found, dict.fromkeys(("method_0", "method_1"), 0.5), 0.0)
