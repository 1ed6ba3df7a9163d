"""Options of classification."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.parts import TargetPart

Kind = Literal["binary", "multiclass", "multilabel"]


class ClassifyOptions(TargetPart):
    """Options of `task = "classify"`."""

    task: Literal["classify"] = "classify"
    column: str | None = Key(None, description="column with the class of each row; empty where unknown")
    columns: tuple[str, ...] = Key(
        (), description="columns of 0 and 1, for several labels at once; empty where unknown"
    )
    positive: str | None = Key(
        None,
        description="of two classes the one that is asked for; needed unless they are 0/1, no/yes, false/true, absent/present or negative/positive",
    )
    order: tuple[str | float, ...] = Key(
        (),
        description="classes from least to most, where they have an order (mild, moderate, severe): one scale with a threshold between neighbours",
    )
    missing: tuple[str | float, ...] = Key((), description="values that mean unknown")
    loss: Literal["cross-entropy", "focal"] = Key(
        "cross-entropy",
        description="focal: rows that are easy weigh less in the loss, by focal_gamma; its probabilities are too near one another and are put right by calibration",
    )
    focal_gamma: Annotated[float, Key(gt=0, le=10)] | None = Key(
        None, description="focal: how much less easy rows weigh; left out: 2"
    )
    label_noise: float = Key(
        0.0,
        ge=0,
        lt=0.5,
        description="share of answers that are recorded wrongly, any other class alike: the probability is then of the true class",
    )
    class_weights: Literal["none", "balanced"] = Key(
        "none", description="balanced: rare classes weigh more in the loss; probabilities stay those of the cohort"
    )
    threshold: Literal["youden", "accuracy"] | Annotated[float, Key(gt=0, lt=1)] = Key(
        "youden", description="how a decision is made of a probability, set on calibration rows; or a fixed number"
    )
    calibration: Literal["temperature", "platt", "isotonic", "none"] = Key(
        "temperature",
        description="what is set on calibration rows: a temperature, held near 1 where they are few; platt: an intercept too; isotonic: any rising curve, which needs some hundreds of rows",
    )
    conformal: Annotated[float, Key(gt=0.5, lt=1)] | None = Key(
        None, description="share of new rows whose set of classes shall hold the truth, such as 0.9; left out: no sets"
    )
    conformal_score: Literal["lac", "aps"] = Key(
        "lac", description="lac: the smallest sets; aps: sets that grow with how hard a row is"
    )
    conformal_by: str | None = Key(
        None,
        description='"class": each class holds the share by itself; or a column of the table, whose groups do (sex, site)',
    )
    abstain: Annotated[float, Key(gt=0, lt=1)] | None = Key(
        None, description="share of rows, the least certain ones, that are left to a person, such as 0.1"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.column is None) == (not self.columns):
            raise PydanticCustomError("part", 'give column = "<column>", or columns = [...] for several labels at once')
        if len(self.columns) == 1 or len(set(self.columns)) != len(self.columns):
            raise PydanticCustomError("part", "columns needs at least two different names; for one give column")
        if self.columns and (self.positive or self.order):
            raise PydanticCustomError("part", "positive and order go with column; labels of columns are 0 and 1")
        if self.order and (len(self.names_in_order()) < 3 or len(set(self.names_in_order())) < len(self.order)):
            raise PydanticCustomError("part", "order needs at least three classes, all different, from least to most")
        if self.order and self.positive:
            raise PydanticCustomError("part", "positive goes with two classes, order with three or more")
        return self

    @model_validator(mode="after")
    def _loss_fits(self) -> Self:
        if self.focal_gamma is not None and self.loss != "focal":
            raise PydanticCustomError("part", 'focal_gamma goes with loss = "focal"')
        if self.loss == "focal" and self.calibration == "none":
            raise PydanticCustomError(
                "part", 'the focal loss gives probabilities that need calibration = "temperature"; take "none" out'
            )
        return self

    @model_validator(mode="after")
    def _sets_fit(self) -> Self:
        if self.columns and (self.conformal is not None or self.abstain is not None):
            raise PydanticCustomError("part", "conformal and abstain go with column, not with several labels at once")
        if self.conformal is None and (self.conformal_by is not None or self.conformal_score != "lac"):
            raise PydanticCustomError("part", "conformal_by and conformal_score go with conformal = 0.9")
        return self

    def text_columns(self) -> tuple[str, ...]:
        """Columns that hold answers."""
        return self.columns or (str(self.column),)

    def names_in_order(self) -> tuple[str, ...]:
        """The classes of `order` as text."""
        return tuple(f"{name:g}" if isinstance(name, float) else name for name in self.order)

    def gamma(self) -> float:
        """The exponent of the focal loss; 0 is cross-entropy."""
        return 0.0 if self.loss != "focal" else 2.0 if self.focal_gamma is None else self.focal_gamma
