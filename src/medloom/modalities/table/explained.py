"""A table taken apart by its columns: what is whose, columns of other rows put in place, and the row of nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from medloom.batch import Field
from medloom.modalities.table.encoders.code_bag import CodeBag
from medloom.modalities.table.encoders.features import Features
from medloom.modalities.table.encoders.transformer import Transformer
from medloom.told import Feature, Leaf, Neutral

if TYPE_CHECKING:
    from medloom.modalities.table import Table

FIRST = 2
"""The first id of a vocabulary that stands for a word."""


def features(table: Table) -> tuple[Feature, ...]:
    """What each plain number is of, in the order of `Table.plain`."""
    options = table.options
    found = [Feature(name) for name in numbers(table)]
    categories, codes = options.named("category"), options.named("code")
    for place, ids in zip(table._embedded("category"), table.vocabulary, strict=True):
        words = (
            table.words[place] if options.category == "embedding" else [f"bucket {n + 1}" for n in range(ids - FIRST)]
        )
        found += [Feature(categories[place], word) for word in words]
    for place in table._embedded("code"):
        name = codes[place]
        found += [Feature(name, "number of codes"), *(Feature(name, word) for word in table.frequent[place])]
        if options.columns[name].primary is not None:
            found += [Feature(name, f"main code in {word}") for word in table.codes[place][0]]
    return tuple(found)


def numbers(table: Table) -> tuple[str, ...]:
    """The column of each number that the network sees: those kept, then those made of answers."""
    options = table.options
    read = options.numbers if table.kept is None else [options.numbers[place] for place in table.kept]
    found = list(read)
    for name, coding in zip(options.coded, table.codings, strict=True):
        found += [name] * (len(coding.prior) * (1 + (options.columns[name].primary is not None)))
    return tuple(found)


def exchanged(table: Table, field: Field, other: Field, parts: Collection[str]) -> Field:
    """The field with these columns of `other`."""
    taken = torch.tensor([name in parts for name in numbers(table)], dtype=torch.bool)
    extra = dict(field.extra)
    extra["missing"] = torch.where(taken, other.extra["missing"], field.extra["missing"])
    categories, codes = table.options.named("category"), table.options.named("code")
    if "codes" in extra:
        moved = torch.tensor([categories[place] in parts for place in table._embedded("category")], dtype=torch.bool)
        extra["codes"] = torch.where(moved, other.extra["codes"], field.extra["codes"])
    for place in table._embedded("code"):
        if codes[place] in parts:
            extra[f"bag_{place}"] = other.extra[f"bag_{place}"]
    # A row whose whole table is absent takes nothing: the network looks at none of its columns.
    return replace(field, value=torch.where(taken, other.value, field.value), extra=extra)


def neutral(table: Table, encoder: nn.Module, field: Field) -> Neutral:
    """Every number at its centre and not missing; the mean of all learnt words in place of each; no code at all.

    The centre is 0 to the network: the median of the training rows, or 0 itself where numbers are not scaled.
    """
    missing = field.extra["missing"]
    owner = next(module for module in encoder.modules() if isinstance(module, Features | Transformer))
    # A transformer does not attend to missing numbers: a step that no gradient tells of, so they stay missing.
    absent = missing if isinstance(owner, Transformer) else torch.zeros_like(missing)
    categories, codes = table.options.named("category"), table.options.named("code")
    own = numbers(table)
    layers: list[tuple[nn.Module, str, Tensor]] = []
    for place, layer in zip(table._embedded("category"), owner.embeddings, strict=True):
        weight = cast(nn.Embedding, layer).weight.detach()
        layers.append((layer, categories[place], (weight[FIRST:] if len(weight) > FIRST else weight).mean(dim=0)))
    for place, bag in zip(table._embedded("code"), cast("Iterable[CodeBag]", owner.bags), strict=True):
        each = (bag.all, bag.main) if bag.main is not None else (bag.all,)
        layers += [(layer, codes[place], torch.zeros(layer.embedding_dim)) for layer in each]
    parts = tuple(dict.fromkeys([*own, *(part for _, part, _ in layers)]))
    of_numbers = torch.tensor([[parts.index(part) for part in own]], dtype=torch.int64)
    leaves = [Leaf("value", torch.zeros_like(field.value), of_numbers), Leaf("missing", absent, of_numbers)]
    leaves += [Leaf(layer, vector, torch.tensor([parts.index(part)])) for layer, part, vector in layers]
    return Neutral(parts, tuple(leaves))
