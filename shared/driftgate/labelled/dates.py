"""A column of dates as milliseconds since 1970, UTC. Pure.

Numbers tell their unit by their size: seconds, milliseconds, microseconds, nanoseconds, years, days
as spreadsheets count them, and digits such as 20250301. The order of day, month and year is the one
that all values allow; where they allow two, the user is asked (`--dates`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from driftgate.errors import BadConfig, shown

EARLIEST, LATEST = 1_000 * 86_400, 4_102_444_800_000  # 1970-01-01 with some minutes, 2100, in ms
ORDERS = ("dmy", "mdy", "ymd")
# Excel's day 1 is 1900-01-01, and it believes in 1900-02-29.
EXCEL_EPOCH = pd.Timestamp("1899-12-30")
# Lower and upper bound of a plausible moment, 1980 to 2100, in each unit, and ms in it.
UNITS = {
    "seconds": (315_532_800, 4_102_444_800, 1e3),
    "milliseconds": (315_532_800_000, 4_102_444_800_000, 1.0),
    "microseconds": (315_532_800_000_000, 4_102_444_800_000_000, 1e-3),
    "nanoseconds": (315_532_800_000_000_000, 4_102_444_800_000_000_000, 1e-6),
}
DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
PARTS = re.compile(
    r"^(?:\w{2,10}\.?,?\s+)?(?P<a>\d{1,4})\s?[./\-年 ]\s?(?P<b>\d{1,2})"
    r"\s?[./\-月 ]\s?(?P<c>\d{1,4})[日.]?"
    r"(?:[ T,]+(?P<h>\d{1,2})[:h.時](?P<m>\d{2})(?:[:.](?P<s>\d{2})(?:[.,]\d+)?)?"
    r"\s*(?P<half>[AaPp])?\.?(?:[Mm]\.?)?)?\s*(?:Uhr|UTC|Z|GMT)?$"
)
# With names of months or days, as mail, Twitter, Oracle and people in English write them.
FORMATS = (
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d-%b-%Y %H:%M:%S",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d %b %Y %H:%M",
    "%b %d, %Y %I:%M %p",
    "%B %d, %Y %I:%M %p",
    "%Y/%m/%d %H:%M:%S %z",
)
# Reading any language's dates takes milliseconds each.
MOST_IN_WORDS = 5_000
USUAL_SHARE = 0.8
"""So many values have to be dates for a column to be one."""


@dataclass(frozen=True, slots=True)
class Dates:
    """times: ms, None where the value is no date. how: what they were read as."""

    times: list[int | None]
    how: str

    @property
    def share(self) -> float:
        return sum(time is not None for time in self.times) / max(1, len(self.times))


def read(values: Sequence[Any], where: str, order: str | None) -> Dates:
    """The moments of a column.

    Args:
        where: names file and column in messages.
        order: what the user says, see `Asked.dates`.

    Raises:
        BadConfig: day and month cannot be told apart, or `order` is none.
    """
    texts = pd.Series([plain(value) for value in values], dtype=object)
    if order and "%" in order:
        return made(by_format(texts, order), f"dates as {order}")
    if order and order not in ORDERS:
        raise BadConfig(
            f"--dates {order}: expected {', '.join(ORDERS)}, or a format such as '%d.%m.%Y %H:%M'"
        )
    numbers = pd.to_numeric(texts, errors="coerce")
    filled = texts != ""
    if filled.any() and numbers[filled].notna().mean() >= USUAL_SHARE:
        return of_numbers(numbers)
    found = [made(pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601"), "ISO 8601")]
    if order is None and found[0].share >= 1:
        return found[0]
    found.append(in_parts(texts, where, order))
    if max(one.share for one in found) < USUAL_SHARE * filled.mean():
        found += [in_words(texts, order)]
    return max(found, key=lambda one: one.share)


def plain(value: Any) -> str:
    """A value as text, with digits and signs of any script as ASCII has them."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = value.strip() if isinstance(value, str) else str(value)
    return text if text.isascii() else unicodedata.normalize("NFKC", decimal(text)).strip()


def decimal(text: str) -> str:
    return "".join(
        str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in text
    )


def made(parsed: Any, how: str) -> Dates:
    """Moments that lie between 1970 and 2100; others are no dates."""
    series = pd.Series(parsed)
    in_ms = series.dt.as_unit("ms").astype("int64")
    good = series.notna() & in_ms.between(EARLIEST, LATEST)
    return Dates([int(t) if ok else None for t, ok in zip(in_ms, good, strict=True)], how)


def by_format(texts: Any, form: str) -> Any:
    return pd.to_datetime(texts, utc=True, errors="coerce", format=form)


def of_numbers(numbers: Any) -> Dates:
    """By the unit that most of them are plausible in."""
    candidates = []
    for unit, (low, high, ms) in UNITS.items():
        inside = numbers.between(low, high)
        moments = pd.to_datetime((numbers.where(inside) * ms), unit="ms", utc=True)
        candidates.append(made(moments, f"{unit} since 1970"))
    whole = numbers.where(numbers == numbers.round())
    digits = whole.map("{:.0f}".format, na_action="ignore").fillna("")
    for length, form in DIGITS.items():
        fits = digits.where(digits.str.len() == length, "")
        candidates.append(made(by_format(fits, form), f"digits as {form}"))
    years = digits.where(whole.between(1900, 2100), "")
    candidates.append(made(by_format(years, "%Y"), "years"))
    days = numbers.where(numbers.between(29_221, 73_050))
    excel = (EXCEL_EPOCH + pd.to_timedelta(days, unit="D")).dt.tz_localize("UTC")
    candidates.append(made(excel.dt.round("s"), "days as spreadsheets count them"))
    return max(candidates, key=lambda one: one.share)


def in_parts(texts: Any, where: str, order: str | None) -> Dates:
    """Dates of three numbers, and a time of day if there is one."""
    distinct = pd.Series(texts.unique(), dtype=object)
    parts = distinct.str.extract(PARTS)
    numbers = parts[["a", "b", "c"]].apply(pd.to_numeric)
    fits = numbers["a"].notna()
    if not fits.any():
        return Dates([None] * len(texts), "no dates")
    chosen = order or order_of(numbers[fits], distinct[fits], where)
    year, month, day = (dict(zip(chosen, "abc", strict=True))[part] for part in "ymd")
    years = numbers[year].where(numbers[year] > 99, numbers[year] + 2000)
    years = years.where((numbers[year] > 99) | (numbers[year] < 70), numbers[year] + 1900)
    hours = pd.to_numeric(parts["h"]).fillna(0)
    late = parts["half"].str.lower()
    hours = hours.where(late.isna(), hours % 12 + (late == "p") * 12)
    pieces = pd.DataFrame(
        {
            "year": years,
            "month": numbers[month],
            "day": numbers[day],
            "hour": hours,
            "minute": pd.to_numeric(parts["m"]).fillna(0),
            "second": pd.to_numeric(parts["s"]).fillna(0),
        }
    )
    plausible = pieces.where(years.between(1970, 2100))
    moments = pd.to_datetime(plausible, errors="coerce", utc=True)
    by_text = dict(zip(distinct, moments, strict=True))
    names = {"d": "day", "m": "month", "y": "year"}
    how = f"dates as {', '.join(names[part] for part in chosen)}"
    return made(pd.to_datetime(texts.map(by_text), utc=True), how)


def order_of(numbers: Any, texts: Any, where: str) -> str:
    """The order that the values allow.

    Raises:
        BadConfig: they allow two.
    """
    if (numbers["a"] > 31).mean() >= USUAL_SHARE:
        return "ymd"
    day_first = (numbers["a"] > 12).sum()
    month_first = (numbers["b"] > 12).sum()
    if day_first or month_first:
        return "dmy" if day_first >= month_first else "mdy"
    if texts.str.contains(r"^\d{1,2}\.\s?\d{1,2}\.", regex=True).all():
        return "dmy"  # points stand between day, month and year wherever they stand
    raise BadConfig(
        f"{where}: {shown(texts.iloc[0])} may be day or month first, and no value tells; say "
        "--dates dmy or --dates mdy"
    )


def in_words(texts: Any, order: str | None) -> Dates:
    """Dates with names of months, in English by their format, else in any language."""
    tried = [made(by_format(texts, form), f"dates as {form}") for form in FORMATS]
    best = max(tried, key=lambda one: one.share)
    distinct = [text for text in texts.unique() if text]
    if best.share >= USUAL_SHARE * (texts != "").mean() or len(distinct) > MOST_IN_WORDS:
        return best
    from dateparser import parse

    settings: Any = {
        "TIMEZONE": "UTC",
        "TO_TIMEZONE": "UTC",
        "RETURN_AS_TIMEZONE_AWARE": True,
        "STRICT_PARSING": True,
        "PARSERS": ["absolute-time"],
    }
    if order:
        settings["DATE_ORDER"] = order.upper()
    probe = distinct[:20]
    if not any(parse(text, settings=settings) for text in probe):
        return best
    by_text = {text: parse(text, settings=settings) for text in distinct}
    moments = pd.to_datetime(texts.map(by_text), utc=True, errors="coerce")
    return max(best, made(moments, "dates in words"), key=lambda one: one.share)
