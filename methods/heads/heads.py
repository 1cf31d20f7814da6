"""Heads: from hidden states at the text's positions to logits, wherever a task reads.

Virtual tokens are cut off before a head sees anything (`Backbone.forward`), so no head can read one.

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
    """A task's head; its parameters' values have no meaning until `initialize`, or until they are loaded."""

    @abstractmethod
    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        """Logits `[X, C]` float32: of each row, or of each place that `read_BT` marks, row by row.

        Args:
            hidden_BTH: hidden states of the text.
            mask_BT: bool, False at padding.
            read_BT: bool, the places that a task of tokens reads; None for a task of whole texts.
        """

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Small weights and zero biases, drawn from `generator` only."""
        for parameter in self.parameters():
            parameter.zero_()
            if parameter.dim() > 1:
                parameter.normal_(std=0.02, generator=generator)


class SequenceHead(Head):
    """A linear layer on one vector per row."""

    def __init__(self, readout: str, hidden_size: int, outputs: int) -> None:
        super().__init__()
        self.readout = readout
        self.linear = nn.Linear(hidden_size, outputs)

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        logits: Tensor = self.linear(sequence_features(hidden_BTH, mask_BT, self.readout))
        return logits


class TokenHead(Head):
    """A linear layer on the hidden state of each token that is read."""

    def __init__(self, hidden_size: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, outputs)

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        assert read_BT is not None, "a task of tokens says which of them it reads"
        states_XH = hidden_BTH[read_BT]
        logits: Tensor = self.linear(states_XH.to(torch.promote_types(states_XH.dtype, torch.float32)))
        return logits


class ModelHead(Head):
    """The head of the model's own class for sequence classification, fed with hidden states of the text.

    What the class has beside the model (BERT's `classifier`, DistilBERT's `pre_classifier` and `classifier`, a
    decoder's `score`) is trained. A pooler belongs to the model: it stays frozen, with the model's weights.
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
        # The classes find the last token by the padding's id, which is 0 here.
        logits: Tensor = self.head(input_ids=mask_BT.long(), attention_mask=mask_BT.long()).logits
        return logits

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        with torch.random.fork_rng(devices=[]):  # the classes' own start draws from torch's generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            for module in self.head.modules():
                self.head._init_weights(module)


class LanguageModelHead(Head):
    """The language model's own: the score of each word of the vocabulary at each place read. Nothing of it is trained.

    The model's class computes it, with all that belongs to it (a transform, a bias, a scale, a cap), on a copy of the
    class's shell in which the model answers with the hidden states given.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self._backbone = (backbone,)  # not a submodule: its parameters are no head's

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        assert read_BT is not None, "a task that reads words says where"
        hidden_1XH = hidden_BTH[read_BT][None]
        whole: Any = self._backbone[0].model
        shell = copy.copy(whole)
        shell._modules = dict(whole._modules)  # the copy's own table: the model keeps its parts
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
    """The language model's scores of one token for each label (Schick and Schuetze, 2021, "Exploiting Cloze Questions for Few
    Shot Text Classification and Natural Language Inference", section 3).

    Args:
        backbone: with its language model.
        tokens: of each label, the token that stands for it.
    """

    def __init__(self, backbone: Backbone, tokens: Sequence[int]) -> None:
        super().__init__(backbone)
        self._tokens = list(tokens)

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor, read_BT: Tensor | None = None) -> Tensor:
        return super().forward(hidden_BTH, mask_BT, read_BT)[:, self._tokens]


class _GivenOutput(nn.Module):
    """Stands in for the model inside a class with a head: answers with the hidden states it was given."""

    def __init__(self, model: nn.Module, hidden_BTH: Tensor | None = None) -> None:
        super().__init__()
        self._frozen = (model,)  # not a submodule: its parameters are no head's
        self.hidden_BTH = hidden_BTH

    @property
    def decoder(self) -> nn.Module:
        """OPT's class asks for the model's decoder, which is all of it."""
        return self

    def forward(self, *args: Any, **kwargs: Any) -> ModelOutput | Seq2SeqModelOutput:
        assert self.hidden_BTH is not None, "the head gives the hidden states first"
        if "decoder_input_ids" in kwargs:  # BART
            return Seq2SeqModelOutput(last_hidden_state=self.hidden_BTH)
        return ModelOutput(
            last_hidden_state=self.hidden_BTH, pooler_output=_pooled(self._frozen[0], self.hidden_BTH)
        )


def _pooled(model: Any, hidden_BTH: Tensor) -> Tensor | None:
    """What the model's own pooler makes of the first token, `[B, H]`; None where it has none."""
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
