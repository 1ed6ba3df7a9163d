"""The headline in words: what the network is worth beside the strongest simple model, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medloom.errors import PATIENT, Noun
from medloom.evaluation.intervals import Estimate
from medloom.report.content import Answer
from medloom.report.words import inside

Tone = Literal["better", "unclear", "worse", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence for everyone, one more for what follows from it."""

    tone: Tone
    sentence: str
    advice: str


def verdict(answer: Answer, level: float, of: Noun = PATIENT) -> Verdict:
    """Better or worse only where the interval of the paired difference is clear of zero."""
    figure, who = answer.headline, answer.subject
    own = answer.network.estimates[figure.name]
    if own.value is None:
        reason = own.note.removeprefix("cannot be estimated: ")
        return Verdict("unknown", f"{figure.label} cannot be estimated.", capital(f"{reason}."))
    if answer.best is None:
        return Verdict(
            "unknown",
            f"{capital(who)} reaches {inside(figure.label)} {number(own.value)}{_interval(own, level)}.",
            f"No simple model could be judged on the same rows, so whether {who} is needed is not known.",
        )
    name = answer.labels[answer.best]
    gain = oriented(answer.differences[answer.best][figure.name], figure.higher_is_better)
    if gain.value is None or gain.low is None or gain.high is None:
        found = "not known" if gain.value is None else f"{number(gain.value, signed=True)}, without an interval"
        sentence = f"Whether {who} beats {inside(name)} is not known: the gain in {inside(figure.label)} is {found}."
        return Verdict("unknown", sentence, f"Judge both on more {of.many}, and consider the simpler model until then.")
    if gain.low > 0:
        sentence = f"{capital(who)} beats {inside(name)} by {number(gain.value)} in {inside(figure.label)}{_interval(gain, level)}."
        return Verdict("better", sentence, f"{name} is the strongest of the simple models on the same {of.many}.")
    if gain.high < 0:
        loss = Estimate(-gain.value, -gain.high, -gain.low)
        sentence = f"{name} beats {who} by {number(-gain.value)} in {inside(figure.label)}{_interval(loss, level)}."
        return Verdict("worse", sentence, f"Use the simpler model.{_kept(answer)}")
    sentence = (
        f"{capital(who)} does not beat {inside(name)} with an interval clear of zero: "
        f"gain in {inside(figure.label)} {number(gain.value, signed=True)}{_interval(gain, level, signed=True)}."
    )
    return Verdict("unclear", sentence, f"Consider the simpler model.{_kept(answer)}")


def _kept(answer: Answer) -> str:
    """What to write into the study so that the bundle holds the simpler model, where it can."""
    if answer.best not in answer.joins:
        return ""
    return f' With members = ["{answer.best}"] under [model] in the study, the bundle holds it.'


def oriented(difference: Estimate, higher_is_better: bool) -> Estimate:
    """The difference as a gain: positive is better whichever way the figure points."""
    if higher_is_better or difference.value is None:
        return difference
    low = None if difference.high is None else -difference.high
    high = None if difference.low is None else -difference.low
    return Estimate(-difference.value, low, high, difference.note)


def number(value: float | None, signed: bool = False) -> str:
    """Three decimals, fewer for large values, with a true minus sign; "–" where there is none."""
    if value is None:
        return "–"
    decimals = 3 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
    text = f"{abs(value):,.{decimals}f}"
    zero = not float(text.replace(",", ""))
    return text if zero or (value > 0 and not signed) else f"{'+' if value > 0 else '−'}{text}"


def percent(level: float) -> str:
    """A level as text: "95 %", with a space that does not break."""
    return f"{100 * level:g}\N{NO-BREAK SPACE}%"


def _interval(estimate: Estimate, level: float, signed: bool = False) -> str:
    if estimate.low is None or estimate.high is None:
        return " (no interval)"
    return f" ({percent(level)} interval {number(estimate.low, signed)} to {number(estimate.high, signed)})"


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
