"""Text generation: writes a text for a given one, such as a summary, a translation or a description of data.

Example row: {"source": "name[Aromi], area[city centre]", "target": "Aromi is in the city centre."}. Rows with the same
source form one example with several references. They are drawn together, each is a row of its own in training, and a
written text is scored against the closest reference.

A decoder reads the source and continues with the target. In an encoder-decoder the encoder reads the source and the
decoder writes the target. The loss is the language model's, over the target's tokens and the end token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from methods.heads import written
from methods.heads.written import WrittenError
from search.config.task_config import TaskConfig
from search.config.values import Template, filled, template_columns
from search.errors import StudyFileError
from search.tasks import groups, sources
from search.tasks.splits import Splits, count_rows, repeated, texts
from search.tasks.task import Evaluation, Row, Split, Task, Trivial, encode_text

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from methods.backbone.shape import Architecture


class Config(TaskConfig):
    """A text to write for a given one: a summary, a translation, a description of data."""

    example = {"name": "texts", "kind": "text_generation", "source": "source", "target": "target"}

    kind: Literal["text_generation"] = Field(description="Kind of task")
    source: Template = Field(description='Column of the given text, or a template such as "{text} TL;DR:"')
    target: str = Field(
        description="Column of the text to write; rows with the same source are its references"
    )
    max_target_length: int = Field(
        default=64, ge=1, description="Longest target in tokens, both in training and in writing"
    )
    metric: Literal["rouge_l", "bleu", "exact_match", "neg_perplexity"] = Field(
        default="rouge_l",
        description="Metric to maximize; neg_perplexity is minus the perplexity of the targets and faster, since no text is "
        "written during the search",
    )

    @property
    def language_model(self) -> bool:
        return True

    @property
    def request(self) -> dict[str, str]:
        return {"text": filled(self.source)}


@dataclass(frozen=True)
class Example:
    """A source, its references, and the group of its first row."""

    source: str
    targets: tuple[str, ...]
    group: str | None


@dataclass(frozen=True, eq=False)
class GenerationSplit(Split):
    """A split whose rows are pairs of source and target; `sources` has only the sources, one per example."""

    sources: Split
    examples: list[Example]


@dataclass(frozen=True, kw_only=True)
class TextGeneration(Task):
    """Writes texts: cross-entropy of the target's tokens; ROUGE-L, BLEU, exact match or perplexity.

    Attributes:
        decode: turns token ids into text.
        max_target_length: how many tokens may be written.
        end: the token that ends a text.
    """

    kind: ClassVar[str] = "text_generation"
    answer: ClassVar[str] = "text"

    decode: Callable[[Sequence[int]], str]
    max_target_length: int
    end: int

    @property
    def settings(self) -> dict[str, Any]:
        return {"max_target_length": self.max_target_length, "end": self.end}

    def loss(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> Tensor:
        import torch

        logits_XV = torch.cat(list(logits))
        targets_X = torch.tensor([token for row in rows for token in row.targets], device=logits_XV.device)
        return torch.nn.functional.cross_entropy(logits_XV, targets_X, reduction="none")

    def keep(self, logits_XC: Tensor, row: Row) -> Tensor:
        """The loss of each token, `[places]`, since logits over the vocabulary would fill the memory."""
        return self.loss([logits_XC], [row])

    def sources(self, split: Split) -> Split | None:
        assert isinstance(split, GenerationSplit)
        return None if self.metric == "neg_perplexity" else split.sources

    def evaluate(
        self, split: Split, kept: Sequence[Tensor], written: Sequence[Sequence[int]] | None = None
    ) -> Evaluation:
        from search.metrics.texts import neg_perplexity

        assert isinstance(split, GenerationSplit)
        losses, lengths = _of_examples(split, kept)
        if not all(map(math.isfinite, losses)):
            return Evaluation(math.nan)
        score = neg_perplexity(losses, lengths)
        others = {"perplexity": -score.value}
        if written is not None:
            return self._scored(split, [self.decode(tokens).strip() for tokens in written], others)
        return self.evaluation({"neg_perplexity": score}, _targets(split), [""] * len(split.examples), others)

    def trivial(self, train: Split, split: Split) -> Trivial | None:
        assert isinstance(split, GenerationSplit)
        if self.metric == "neg_perplexity":
            return None
        copies = [example.source.strip() for example in split.examples]
        return Trivial("the copied source", self._scored(split, copies, {}))

    def _scored(
        self, split: GenerationSplit, predictions: list[str], others: Mapping[str, float]
    ) -> Evaluation:
        """Scores a text for each source."""
        from search.metrics.texts import bleu, exact_match, rouge_l

        references = [example.targets for example in split.examples]
        scores = {
            "rouge_l": rouge_l(predictions, references),
            "bleu": bleu(predictions, references),
            "exact_match": exact_match(predictions, references),
        }
        return self.evaluation(scores, _targets(split), predictions, others)


def _targets(split: GenerationSplit) -> list[str]:
    return [" / ".join(example.targets) for example in split.examples]


def _of_examples(split: GenerationSplit, kept: Sequence[Tensor]) -> tuple[list[float], list[int]]:
    """The sum of the token losses of each example's rows, and the number of tokens."""
    rows = iter(kept)
    found = [[next(rows).double() for _ in example.targets] for example in split.examples]
    losses = [sum(float(row.sum()) for row in mine) for mine in found]
    return losses, [sum(len(row) for row in mine) for mine in found]


def load(
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    seed: int,
    splits: Sequence[str],
    architecture: Architecture,
) -> TextGeneration:
    """Loads a task with the given splits; see `search.tasks.load`."""
    if architecture == "encoder":
        raise StudyFileError(
            "kind: text_generation needs a decoder (GPT-2, Llama, Qwen) or an encoder-decoder (T5, BART); "
            "this model is an encoder, which cannot write"
        )
    source = Splits(config, _columns(config), seed)
    used = {split: _examples(config, source, split) for split in {"train": None, **dict.fromkeys(splits)}}
    made: dict[str, Split] = {}
    warnings = []
    for split in splits:
        made[split], cut = _tokenize(config, used[split], tokenizer, max_length, architecture)
        if cut:
            warnings.append(
                f"{cut} of {len(made[split])} rows of {split} are cut, because the source or the target is too long"
            )
    end = tokenizer.eos_token_id
    assert end is not None, "rows with targets end with it"
    sources = {split: [example.source for example in examples] for split, examples in used.items()}
    return TextGeneration(
        name=config.name,
        metric=config.metric,
        labels=(),
        label_ids=[],
        splits=made,
        encode=partial(encode_text, tokenizer),
        warnings=(
            *warnings,
            *repeated({split: sources[split] for split in splits}, sources["train"]),
            *groups.shared(
                {split: [example.group for example in used[split]] for split in splits},
                [example.group for example in used["train"]],
            ),
        ),
        decode=partial(tokenizer.decode, skip_special_tokens=True),
        max_target_length=config.max_target_length,
        end=int(end),
    )


def count(config: Config, split: str) -> int:
    """Counts the rows of a split in the data; see `search.tasks.count`."""
    return count_rows(config, split, _columns(config))


def _columns(config: Config) -> dict[str, str]:
    return dict.fromkeys(template_columns(config.source), "source") | {config.target: "target"}


def _examples(config: Config, source: Splits, split: str) -> list[Example]:
    """The used examples of a split, in the order in which their sources first appear."""
    table, where = source.table(split), source.name(split)
    everything = range(len(table))
    targets: dict[str, list[str]] = {}
    named: dict[str, str | None] = {}
    for text, target, group in zip(
        texts(config.source, table, "source", where, everything),
        texts(config.target, table, "target", where, everything),
        groups.named(config, table, where, everything),
        strict=True,
    ):
        targets.setdefault(text, []).append(target.strip())
        named.setdefault(text, group)
    examples = [Example(text, tuple(dict.fromkeys(mine)), named[text]) for text, mine in targets.items()]
    return [examples[number] for number in source.draw(split, len(examples))]


def _tokenize(
    config: Config,
    examples: list[Example],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    architecture: Architecture,
) -> tuple[GenerationSplit, int]:
    """Tokenizes examples; returns the split and how many of its rows are cut."""
    rows, asked, cut = [], [], 0
    try:
        for example in examples:
            given, whole = written.source(
                tokenizer, example.source, max_length, config.max_target_length, architecture
            )
            asked.append(Row(given, []))
            for target in example.targets:
                ids, complete = written.target(
                    tokenizer, example.source, target, config.max_target_length, architecture
                )
                rows.append(_row(given, ids, architecture))
                cut += not (whole and complete)
    except WrittenError as error:
        raise StudyFileError(str(error)) from error
    sha256 = sources.fingerprint((example.source, *example.targets) for example in examples)
    numbers = groups.numbered([example.group for example in examples])
    return GenerationSplit(rows, sha256, Split(asked, sha256), examples, groups=numbers), cut


def _row(given: list[int], target: list[int], architecture: Architecture) -> Row:
    """Makes a row whose head predicts each token of the target, at the token before it."""
    before = target[:-1]
    if architecture == "encoder-decoder":
        return Row(given, target, list(range(len(target))), written=before)
    together = [*given, *before]
    return Row(together, target, list(range(len(given) - 1, len(together))), source_length=len(given))
