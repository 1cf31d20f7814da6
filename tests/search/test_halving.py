"""Successive halving: where the rungs are, and who is stopped."""

from __future__ import annotations

import pytest

from search.halving import rungs, stops


@pytest.mark.parametrize(
    ("max_steps", "eval_steps", "eta", "expected"),
    [
        (45, 15, 3, (15,)),
        (300, 10, 3, (10, 30, 100)),
        (64, 8, 2, (8, 16, 32)),
        (100, 30, 3, (30,)),
        (20, 20, 3, ()),
        (10, 50, 3, ()),
    ],
)
def test_rungs_are_evaluations_before_the_end(
    max_steps: int, eval_steps: int, eta: int, expected: tuple[int, ...]
) -> None:
    found = rungs(max_steps, eval_steps, eta)
    assert found == expected
    assert all(rung % eval_steps == 0 and rung < max_steps for rung in found)


def test_nobody_is_stopped_before_eta_peers_exist() -> None:
    assert not stops(0.1, [0.9, 0.8], eta=3)
    assert stops(0.1, [0.9, 0.8, 0.7], eta=3)


def test_the_top_share_goes_on() -> None:
    peers = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert not stops(0.45, peers, eta=3)  # second of six, and two may go on
    assert stops(0.35, peers, eta=3)


def test_ties_go_on() -> None:
    assert not stops(0.9, [0.9, 0.9, 0.9], eta=3)
