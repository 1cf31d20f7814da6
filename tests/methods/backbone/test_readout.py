"""Readouts read the text, wherever the padding is."""

from __future__ import annotations

import pytest
import torch

from methods.backbone.readout import sequence_features

HIDDEN = torch.arange(12.0).reshape(1, 4, 3)


@pytest.mark.parametrize(
    ("mask", "first", "last"),
    [([1, 1, 1, 1], 0, 3), ([1, 1, 0, 0], 0, 1), ([0, 0, 1, 1], 2, 3), ([0, 1, 0, 0], 1, 1)],
)
def test_padding_is_never_read(mask: list[int], first: int, last: int) -> None:
    mask_BT = torch.tensor([mask], dtype=torch.bool)
    assert torch.equal(sequence_features(HIDDEN, mask_BT, "first"), HIDDEN[:, first])
    assert torch.equal(sequence_features(HIDDEN, mask_BT, "last"), HIDDEN[:, last])
    torch.testing.assert_close(sequence_features(HIDDEN, mask_BT, "mean")[0], HIDDEN[mask_BT].mean(0))


def test_features_are_float32_at_least() -> None:
    mask_BT = torch.ones(1, 4, dtype=torch.bool)
    assert sequence_features(HIDDEN.bfloat16(), mask_BT, "mean").dtype == torch.float32
    assert sequence_features(HIDDEN.double(), mask_BT, "mean").dtype == torch.float64


def test_an_unknown_readout_is_refused() -> None:
    with pytest.raises(ValueError, match="first, last or mean, not 'middle'"):
        sequence_features(HIDDEN, torch.ones(1, 4, dtype=torch.bool), "middle")
