"""Heads: turn hidden states at text positions into logits.

Virtual tokens are cut off before (`Backbone.forward`), so no head can read one.

Letters: B rows, T text tokens, H hidden width, C outputs, X places that are read.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions as ModelOutput
from transformers.modeling_outputs import Seq2SeqModelOutput

from methods.backbone.readout import sequence_features

if TYPE_CHECKING:
    from methods.backbone.backbone import Backbone


class Head(nn.Module, ABC):
    """A task's head. Its parameters have no values until `initialize`, or until they are loaded."""

    @abstractmethod
    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        """Computes logits `[X, C]` float32 for each row, or for each place that `read_BT` marks, row by row.

        Args:
            hidden_BTH: hidden states of the text.
            mask_BT: bool, False at padding.
            read_BT: bool, True at the places that a task on tokens reads; None for a task on whole texts.
        """

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Sets small random weights, drawn only from `generator`, and zero biases."""
        for parameter in self.parameters():
            parameter.zero_()
            if parameter.dim() > 1:
                parameter.normal_(std=0.02, generator=generator)


class LinearHead(Head):
    """A linear layer on what is read of the hidden states.

    Args:
        reads: names what it reads; heads with equal names read the same.
        hidden_size: H.
        outputs: C.
    """

    def __init__(self, reads: str, hidden_size: int, outputs: int) -> None:
        super().__init__()
        self.reads = reads
        self.linear = nn.Linear(hidden_size, outputs)

    @abstractmethod
    def read(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        """What the layer gets, `[X, H]`, at least float32. The arguments are those of `forward`."""

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        return self.answer(self.read(hidden_BTH, mask_BT, read_BT))

    def answer(self, read_XH: Tensor) -> Tensor:
        """Logits `[X, C]` of what was read."""
        logits_XC: Tensor = self.linear(read_XH)
        return logits_XC


class SequenceHead(LinearHead):
    """A linear layer on one vector per row, the readout."""

    def read(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        return sequence_features(hidden_BTH, mask_BT, self.reads)


class TokenHead(LinearHead):
    """A linear layer on the hidden state of each token that is read."""

    def __init__(self, hidden_size: int, outputs: int) -> None:
        super().__init__("tokens", hidden_size, outputs)

    def read(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        assert read_BT is not None, "a task of tokens says which of them it reads"
        states_XH = hidden_BTH[read_BT]
        return states_XH.to(torch.promote_types(states_XH.dtype, torch.float32))


class ModelHead(Head):
    """The head of the model's own sequence-classification class, applied to hidden states of the text.

    Everything that the class adds to the model is trained (BERT's `classifier`, DistilBERT's `pre_classifier` and
    `classifier`, a decoder's `score`). A pooler belongs to the model and stays frozen.
    """

    def __init__(self, backbone: Backbone, outputs: int) -> None:
        super().__init__()
        config = copy.deepcopy(backbone.config)
        config.num_labels, config.pad_token_id = outputs, 0
        with torch.device("meta"):
            whole: Any = AutoModelForSequenceClassification.from_config(config)
        self._model = _GivenOutput(backbone.model)
        setattr(whole, whole.base_model_prefix, self._model)
        self.head = whole.to_empty(device=backbone.device).float().eval()

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        self._model.hidden_BTH = hidden_BTH.to(torch.promote_types(hidden_BTH.dtype, torch.float32))
        # The classes find the last token by the id of the padding token, which is 0 here.
        logits: Tensor = self.head(input_ids=mask_BT.long(), attention_mask=mask_BT.long()).logits
        return logits

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        with torch.random.fork_rng(devices=[]):  # the classes initialise from torch's global generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            for module in self.head.modules():
                self.head._init_weights(module)


class LanguageModelHead(Head):
    """The language model's own head: scores the vocabulary at each place that is read. It is not trained.

    The model's class computes the scores with everything that belongs to them (a transform, a bias, a scale, a cap).
    For this we use a shallow copy of the class in which the model returns the given hidden states.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self._backbone = (
            backbone,
        )  # in a tuple, so that it is no submodule: its parameters do not belong to the head

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        assert read_BT is not None, "a task that reads words says where"
        hidden_1XH = hidden_BTH[read_BT][None]
        whole: Any = self._backbone[0].model
        shell = copy.copy(whole)
        shell._modules = dict(whole._modules)  # a new table, so that the model keeps its parts
        given = _GivenOutput(whole, hidden_1XH)
        options: dict[str, Any] = {"input_ids": hidden_1XH.new_zeros(hidden_1XH.shape[:2], dtype=torch.long)}
        if whole.base_model is whole:  # T5
            shell.decoder = given
            options = {"decoder_input_ids": options["input_ids"], "encoder_outputs": (hidden_1XH,)}
        else:
            setattr(shell, whole.base_model_prefix, given)
        logits_XV: Tensor = shell(**options).logits[0]
        return logits_XV.to(torch.promote_types(logits_XV.dtype, torch.float32))


class VerbalizerHead(LanguageModelHead):
    """The language model's scores of one token for each label.

    Schick and Schuetze (2021), "Exploiting Cloze Questions for Few Shot Text Classification and Natural Language
    Inference", section 3.

    Args:
        backbone: the backbone with its language model.
        tokens: the token that stands for each label.
    """

    def __init__(self, backbone: Backbone, tokens: Sequence[int]) -> None:
        super().__init__(backbone)
        self._tokens = list(tokens)

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        return super().forward(hidden_BTH, mask_BT, read_BT)[:, self._tokens]


class _GivenOutput(nn.Module):
    """Replaces the model inside a class with a head, and returns the given hidden states."""

    def __init__(self, model: nn.Module, hidden_BTH: Tensor | None = None) -> None:
        super().__init__()
        self._frozen = (
            model,
        )  # in a tuple, so that it is no submodule: its parameters do not belong to the head
        self.hidden_BTH = hidden_BTH

    @property
    def decoder(self) -> nn.Module:
        """The decoder that OPT's class asks for, which is the whole model."""
        return self

    def forward(self, *args: Any, **kwargs: Any) -> ModelOutput | Seq2SeqModelOutput:
        assert self.hidden_BTH is not None, "the head gives the hidden states first"
        if "decoder_input_ids" in kwargs:  # BART
            return Seq2SeqModelOutput(last_hidden_state=self.hidden_BTH)
        return ModelOutput(
            last_hidden_state=self.hidden_BTH, pooler_output=_pooled(self._frozen[0], self.hidden_BTH)
        )


def _pooled(model: Any, hidden_BTH: Tensor) -> Tensor | None:
    """The output of the model's own pooler, `[B, H]`; None if it has no pooler."""
    pooler = getattr(model, "pooler", None)
    if pooler is None:
        return None
    weight = next(pooler.parameters())
    hidden_BTH = hidden_BTH.to(weight.dtype)
    if hasattr(model, "pooler_activation"):  # ALBERT
        pooled: Tensor = model.pooler_activation(pooler(hidden_BTH[:, 0]))
    else:
        pooled = pooler(hidden_BTH)
    return pooled.to(torch.promote_types(pooled.dtype, torch.float32))
