"""Methods built small, started and run, as the tests of every method need them."""

from __future__ import annotations

import torch
from transformers import AutoModel

import methods
from methods.backbone import attention
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.config import MethodConfig
from methods.method import Method, Rows, Start
from methods.parameters import deployed_parameters, trained_parameters
from methods.space import Choice

TASKS = ("first", "second")


def cases() -> list[str]:
    """Every method, and every method with each other value of the choices that shape it: "p_tuning encoder=mlp"."""
    found = []
    for name in methods.names():
        found.append(name)
        for field in methods.get(name).Config.fields().values():
            allowed = field.metadata["allowed"]
            if isinstance(allowed, Choice) and field.name not in ("readout", "init", "placement"):
                found += [f"{name} {field.name}={v}" for v in allowed.choices if v != field.default]
    return found


EXAMPLES = ([2, 11, 12, 3], [2, 14, 15, 16, 3])
"""The only training row of each task."""


def small_config(case: str, num_virtual_tokens: int = 5, **given: object) -> MethodConfig:
    """The configuration of a case, small."""
    name, _, choice = case.partition(" ")
    config = methods.get(name).Config
    if choice:
        field, _, text = choice.partition("=")
        about = config.fields()[field].metadata
        (value,) = [v for v in about["allowed"].choices if str(v) == text]
        given |= {field: value, **about["where"]}
    if "num_virtual_tokens" in config.fields():
        given["num_virtual_tokens"] = num_virtual_tokens
    return config(**given)


def build(
    case: str, backbone: Backbone, seed: int = 0, num_virtual_tokens: int = 5, **given: object
) -> Method:
    module = methods.get(case.partition(" ")[0])
    method = module.Method(small_config(case, num_virtual_tokens, **given), backbone, len(TASKS))
    method.initialize(start(backbone, seed))
    return method.eval()


def start(backbone: Backbone, seed: int = 0, label_ids: list[list[int]] | None = None) -> Start:
    """What trials of the tasks `TASKS` start from; a text's tokens are its letters, "a" being 10."""
    by_task = {"first": label_ids or [[7], [8]], "second": [[9, 10]]}
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(2, 8, backbone.shape.hidden_size, generator=torch.Generator().manual_seed(7))
    encode = lambda text: [ord(letter) - 87 for letter in text]  # noqa: E731
    return Start(backbone, TASKS, by_task, generator, encode, list(queries), EXAMPLES.__getitem__)


def inject(
    backbone: Backbone, method: Method, ids: torch.Tensor, mask: torch.Tensor, tasks: list[int]
) -> Injection:
    """The method's injection for texts of the given tasks."""
    query = None if method.query is None else backbone.features(ids, mask, method.query)
    return method(Rows(torch.tensor(tasks), query), method.own_backbone or backbone)


def run(backbone: Backbone, method: Method, ids: torch.Tensor, mask: torch.Tensor, tasks: list[int]):
    own = method.own_backbone or backbone
    return own.forward(ids, mask, inject(backbone, method, ids, mask, tasks))


def on_meta(config: object) -> Backbone:
    with torch.device("meta"):
        return Backbone(AutoModel.from_config(config, attn_implementation=attention.IMPLEMENTATION))


def count(name: str, backbone: Backbone, tasks: int = 1, **given: object) -> tuple[int, int]:
    """Trained and deployed parameters."""
    module = methods.get(name)
    with torch.device("meta"):
        method = module.Method(module.Config(**given), backbone, tasks)
        return trained_parameters(method), deployed_parameters(method, backbone)
