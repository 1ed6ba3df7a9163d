"""Figures of classes that have an order."""

from __future__ import annotations

from collections.abc import Mapping

from medloom.statistics import ordinal
from medloom.task import Metric


def metrics(unordered: Mapping[str, Metric]) -> Mapping[str, Metric]:
    """The figures that heed the order, the headline first, and then those of any classes."""
    figures = (
        Metric(
            "quadratic_kappa",
            lambda m, w: ordinal.quadratic_kappa(m["truth"], m["decision"], w),
            True,
            "Quadratic weighted kappa",
            "agreement beyond chance; what is further off counts by the square",
        ),
        Metric(
            "mean_class_distance",
            lambda m, w: ordinal.mean_distance(m["truth"], m["decision"], w),
            False,
            "Mean distance in classes",
            "how many classes the decision is off",
        ),
    )
    return {**{figure.name: figure for figure in figures}, **unordered}
