"""Times of events as the store keeps them: ticks in UTC, whatever they are written like."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from medloom.cohort.event_store import TICKS
from medloom.cohort.times import Kind

ZONED = tuple(
    f"%Y-%m-%d{between}%H:%M{rest}%#z"
    for between in ("T", " ")
    for rest in (":%S", ":%S%.f", "")
)  # fmt: skip
LOCAL = tuple(f"%Y-%m-%d{between}%H:%M{rest}" for between in (" ", "T") for rest in (":%S", ":%S%.f", ""))
DAY = "%Y-%m-%d"
PARTIAL = r"^\d{4}(-\d{2})?$"
NO_DAY = "a date without a day"
NO_TIME = "no time"
UNREADABLE = "not a time"
TWICE = "a time that the zone has twice or not at all"
_DIGITS = r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4}|\d{6})?$"


@dataclass(frozen=True, slots=True)
class Ticks:
    """Times of some lines. `time` is null where `reason` says what is wrong, or where none was given (both null).

    `zoned`, `local` and `days` count times with a zone, without one, and days without a time of day.
    """

    time: pl.Series
    reason: pl.Series
    zoned: int = 0
    local: int = 0
    days: int = 0


def kind_of(values: pl.Series) -> Kind | None:
    """Whether times are dates or numbers, as all of these are; None where none is given."""
    if not len(values) or values.dtype == pl.Null or values.null_count() == len(values):
        return None
    if values.dtype.is_temporal():
        return "date"
    if values.dtype.is_numeric():
        return "number"
    text = values.str.strip_chars().drop_nulls()
    text = text.filter(text != "")
    if not len(text):
        return None
    return "number" if text.cast(pl.Float64, strict=False).is_not_null().all() else "date"


def look_like_dates(values: pl.Series) -> bool:
    """Whether numbers are days or times written without anything between, as 20240131 or 202401311830."""
    text = values.cast(pl.String).str.strip_chars().drop_nulls().head(1000)
    found = text.str.contains(_DIGITS)
    return len(text) > 0 and float(found.to_numpy().mean()) >= 0.9


def read_ticks(values: pl.Series, kind: Kind | None, form: str | None, zone: str | None) -> Ticks:
    """Ticks of a column of times: text, dates, date-times or numbers. `form` is a format that all follow."""
    if values.dtype == pl.Null or kind is None:
        blank = pl.Series(values.name, [None], pl.Int64).new_from_index(0, len(values))
        return Ticks(blank, _reasons(len(values)))
    if kind == "number":
        return _numbers(values)
    if values.dtype == pl.String:
        return _texts(values, form, zone)
    if not values.dtype.is_temporal():
        text = values.cast(pl.Int64, strict=False).cast(pl.String)
        return _texts(text, form, zone)
    if values.dtype == pl.Date:
        time, twice = _days(values, zone)
        return Ticks(time, twice, days=len(values) - values.null_count())
    given = len(values) - values.null_count()
    if getattr(values.dtype, "time_zone", None) is not None:
        return Ticks(_micro(values), _reasons(len(values)), zoned=given)
    if zone is None:
        return Ticks(_micro(values), _reasons(len(values)), local=given)
    placed = _placed(values.cast(pl.Datetime("us")), zone)
    return Ticks(_micro(placed), _where(placed.is_null() & values.is_not_null(), TWICE), zoned=given)


def _numbers(values: pl.Series) -> Ticks:
    number = values.cast(pl.Float64, strict=False) if values.dtype != pl.String else _number(values)
    limit = 2**63 / TICKS
    inside = number.is_finite() & (number.abs() < limit)
    time = pl.select(pl.when(inside.fill_null(False)).then((number * TICKS).round())).to_series().cast(pl.Int64)
    given = values.is_not_null() if values.dtype != pl.String else values.str.strip_chars() != ""
    return Ticks(time, _where(time.is_null() & given.fill_null(False), UNREADABLE))


def _number(values: pl.Series) -> pl.Series:
    return values.str.strip_chars().cast(pl.Float64, strict=False)


def _texts(values: pl.Series, form: str | None, zone: str | None) -> Ticks:
    text = values.str.strip_chars()
    text = pl.select(pl.when(text != "").then(text)).to_series()
    found = pl.Series("time", [None], pl.Int64).new_from_index(0, len(text))
    reason = _reasons(len(text))
    counts = {"zoned": 0, "local": 0, "days": 0}
    # The way in which the first unread time is written is tried first: most sources write all times in one way.
    order = [form] if form is not None else [LOCAL[0], ZONED[0], DAY, *LOCAL[1:], *ZONED[1:]]
    for certain in (True, False):
        for one in order:
            left = text.is_not_null() & found.is_null() & reason.is_null()
            if not left.any():
                break
            if certain and form is None and _parsed(text.filter(left).head(1), one).null_count():
                continue
            found, reason = _fill(text, left, one, zone, found, reason, counts)
    partial = text.str.contains(PARTIAL) & found.is_null() & reason.is_null()
    reason = _or(reason, _where(partial, NO_DAY))
    reason = _or(reason, _where(text.is_not_null() & found.is_null() & reason.is_null(), UNREADABLE))
    return Ticks(found, reason, **counts)


def _fill(
    text: pl.Series,
    left: pl.Series,
    form: str,
    zone: str | None,
    found: pl.Series,
    reason: pl.Series,
    counts: dict[str, int],
) -> tuple[pl.Series, pl.Series]:
    """What this way of writing adds to what was read so far; its times are counted."""
    parsed = _parsed(text if left.all() else pl.select(pl.when(left).then(text)).to_series(), form)
    number = len(parsed) - parsed.null_count()
    if not number:
        return found, reason
    if form in ZONED or "%z" in form or "%#z" in form or "%:z" in form:
        counts["zoned"] += number
        return _or(found, _micro(parsed)), reason
    if not any(part in form for part in ("%H", "%I", "%T", "%R", "%s")):
        counts["days"] += number
        time, twice = _days(parsed, zone)
        return _or(found, time), _or(reason, twice)
    if zone is None:
        counts["local"] += number
        return _or(found, _micro(parsed)), reason
    counts["zoned"] += number
    placed = _placed(parsed, zone)
    return _or(found, _micro(placed)), _or(reason, _where(placed.is_null() & parsed.is_not_null(), TWICE))


def _parsed(text: pl.Series, form: str) -> pl.Series:
    if not any(part in form for part in ("%H", "%I", "%T", "%R", "%s")):
        return text.str.to_date(form, strict=False)
    return text.str.to_datetime(form, strict=False, time_unit="us")


def _days(values: pl.Series, zone: str | None) -> tuple[pl.Series, pl.Series]:
    """The last tick of each day, and why there is none: what is known to the day alone may have been at its end."""
    last = values.cast(pl.Datetime("us")).dt.offset_by("86399999999us")
    placed = last if zone is None else _placed(last, zone)
    return _micro(placed), _where(placed.is_null() & values.is_not_null(), TWICE)


def _placed(values: pl.Series, zone: str) -> pl.Series:
    """Local times of a zone; null where the clocks went back or forward at that time."""
    placed = values.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return placed.dt.convert_time_zone("UTC")


def _micro(values: pl.Series) -> pl.Series:
    return values.cast(pl.Datetime("us", getattr(values.dtype, "time_zone", None))).cast(pl.Int64)


def _reasons(length: int) -> pl.Series:
    return pl.Series("reason", [None], pl.String).new_from_index(0, length)


def _where(mask: pl.Series, reason: str) -> pl.Series:
    return pl.select(pl.when(mask).then(pl.lit(reason)).alias("reason")).to_series()


def _or(first: pl.Series, second: pl.Series) -> pl.Series:
    return (
        first if not second.is_not_null().any() else pl.select(pl.coalesce([pl.lit(first), pl.lit(second)])).to_series()
    )
