"""Base configurations of methods, by the place of their virtual tokens. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.config import READOUTS, PromptConfig, hyperparameter
from methods.space import Choice, Scalar, Text

if TYPE_CHECKING:
    from methods.backbone.injection import Site
    from methods.backbone.shape import Shape

PLACEMENTS = ("before", "middle", "after", "around")


def placement_field(where: Mapping[str, Scalar] | None = None) -> str:
    """Makes the field `placement`, which has an effect only with the given values of other fields."""
    return hyperparameter(
        "before",
        allowed=Choice(PLACEMENTS),
        searched=False,
        help="where the virtual tokens stand: before, in the middle of, after or around the text",
        where=where,
    )


@dataclass(frozen=True)
class InputConfig(PromptConfig):
    """Hyperparameters of methods with virtual tokens among those of the text."""

    placement: str = placement_field()

    @property
    def takes_positions(self) -> bool:
        """Whether the virtual tokens stand in the sequence, and so leave fewer positions for the text."""
        return True

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if self.takes_positions:
            found += self._position_problem(shape, max_length)
        unseen = {"after": READOUTS, "middle": ("first",)}.get(self.placement, ())
        if shape.causal and self.readout in unseen:
            found.append(
                f"placement must be before or around if readout is {self.readout}, not {self.placement}: in a causal model "
                "a text token sees nothing that comes after it"
            )
        return found


OUT_OF_REACH = (
    "prefixes cannot be put into this model, because it does not use transformers' attention interface: leave the method "
    "out, or choose a model such as BERT, RoBERTa, GPT-2 or Llama"
)


@dataclass(frozen=True)
class KeyValueConfig(PromptConfig):
    """Hyperparameters of methods that put keys and values in front of each layer's own."""

    layers: str = hyperparameter(
        "all",
        allowed=Text(),
        searched=False,
        help='layers that get a prefix: all, or a list such as "0-2, 5"',
    )
    shift_positions: bool = hyperparameter(
        False,
        allowed=Choice((False, True)),
        searched=False,
        help="start the text at position P instead of 0, as peft does",
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if not shape.sites:
            return [*found, OUT_OF_REACH]
        try:
            chosen_sites(self.layers, shape)
        except ValueError as error:
            found.append(str(error))
        if self.shift_positions and not shape.shifts_text:
            found.append("shift_positions must be false, because the model counts positions itself, from 0")
        if self.shift_positions:
            found += self._position_problem(shape, max_length)
        return found


def chosen_sites(layers: str, shape: Shape) -> tuple[Site, ...]:
    """The sites that `layers` names: "all", or numbers from 0 and ranges of them, such as "0-2, 5".

    Raises:
        ValueError: `layers` is not of this form, or names a layer that the model does not have; the message begins with
            "layers".
    """
    sites = tuple(shape.sites)
    if layers == "all":
        return sites
    wanted: set[int] = set()
    try:
        for part in layers.split(","):
            low, _, high = part.partition("-")
            numbers = range(int(low), int(high or low) + 1)
            if not numbers:
                raise ValueError
            wanted.update(numbers)
    except ValueError:
        raise ValueError(f'layers must be all, or a list such as "0-2, 5", not {layers!r}') from None
    if max(wanted) >= len(sites):
        raise ValueError(
            f"layers must be at most {len(sites) - 1} in a model with {len(sites)}, not {max(wanted)}"
        )
    return tuple(sites[number] for number in sorted(wanted))
