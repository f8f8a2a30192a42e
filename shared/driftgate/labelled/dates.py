"""A column of dates as milliseconds since 1970, UTC. Pure, but for a note on dates in the future.

Numbers tell their unit by their size: seconds, milliseconds, microseconds, nanoseconds, years, days
as spreadsheets count them, and digits such as 20250301. The order of day, month and year is the one
that all values allow; where they allow two, the user is asked (`--dates`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
# Zones that mail has names for (RFC 822); others are not unique.
ZONES = {
    **{"UTC": "+0000", "GMT": "+0000", "EST": "-0500", "EDT": "-0400", "CST": "-0600"},
    **{"CDT": "-0500", "MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700"},
}
ZONE = re.compile(rf"\b(?:{'|'.join(ZONES)})\b")
OFFSET = re.compile(r"(?:UTC|GMT)?\s?(?P<sign>[+-])(?P<h>\d{1,2}):?(?P<m>\d{2})?")
OTHER_ZONE = re.compile(
    r"^.{4,30}\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?|Uhr)?"
    r"\s+\(?(?P<zone>[A-Z]{2,5})\)?(?:\s+\d{4})?$"
)
# Marks of direction and of UTF-8, which are not seen.
UNSEEN = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
# What stands for AM and PM in Greece and Vietnam.
HALVES = {"π.μ.": "AM", "μ.μ.": "PM", "SA": "AM", "CH": "PM"}
HALF = re.compile(r"(?<=\d) ?(π\.μ\.|μ\.μ\.|SA|CH)$")
AT = r"(?:klo|kl\.?|às|as|à|ore|ora|orele|um|om|at|в)"  # between a date and a time
PARTS = re.compile(
    r"^(?:\w{2,10}\.?,?\s+)?(?P<a>\d{1,4})\s?[./\-年 ]\s?(?P<b>\d{1,2})"
    r"\s?[./\-月 ]\s?(?P<c>\d{1,4})[日.]?"
    r"(?:\s?[гr]\.)?"
    rf"(?:[ T,]+(?:{AT}\s+)?"
    r"(?P<h>\d{1,2})[:h.時](?P<m>\d{2})(?:[:.](?P<s>\d{2})(?:[.,]\d+)?)?"
    r"\s*(?P<half>[AaPp])?\.?\s?(?:[Mm]\.?)?\s*(?:Uhr|uur)?"
    rf"(?:\s*(?P<zone>{'|'.join(ZONES)}|(?:UTC|GMT)\s?[+-]\d{{1,2}}(?::?\d{{2}})?)"
    r"|\s+(?P<offset>[+-]\d{2}:?\d{2}))?)?\s*(?:UTC|Z|GMT)?$"
)
CLOCK = re.compile(
    r"^(?P<h>\d{1,2})[:h.時시](?P<m>\d{2})(?:[:.](?P<s>\d{2})(?:[.,]\d+)?)?"
    r"\s*(?P<half>[AaPp])?\.?\s?(?:[Mm]\.?)?\s*(?:Uhr)?$"
)
# With names of months or days, as mail, Twitter, Oracle and people in English write them.
FORMATS = (
    "%a, %d %b %Y %H:%M:%S %z",
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
    "%a %b %d %H:%M:%S %Y %z",
    "%d/%b/%Y:%H:%M:%S %z",
    "%d-%b-%y %I.%M.%S.%f %p",
    "%d-%b-%Y %I:%M:%S %p",
    "%d%b%Y",
    "%d%b%Y:%H:%M:%S",
    "%d%b%Y:%H:%M:%S.%f",
    "%d/%b/%y %I:%M %p",
    "%G-W%V-%u",
)
PROBED = 200  # values that choose the format
# Reading any language's dates takes milliseconds each.
MOST_IN_WORDS = 5_000
ROUNDED = re.compile(r"\d([.,]\d+)?[eE]\+?\d+")  # as spreadsheets show long numbers
FEW = 20  # rows that may all be of one moment
YEAR = 366 * 86_400_000
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
        order: what the user says, see `Asked.dates` and `check_order`.

    Raises:
        BadConfig: day and month, or the zone, cannot be told, or digits were lost.
    """
    texts = [plain(value) for value in values]
    distinct = pd.Series([text for text in dict.fromkeys(texts) if text], dtype=object)
    found = of_distinct(distinct, where, order)
    by_text = dict(zip(distinct, found.times, strict=True))
    times = [by_text.get(text) for text in texts]
    moments = {time for time in times if time is not None}
    one = len(moments) == 1 and len(times) > 1
    if one and len(times) > FEW and all(map(ROUNDED.fullmatch, distinct)):
        raise BadConfig(
            f"{where}: {shown(distinct[0])} stands in all {len(times):,} rows: a spreadsheet has "
            "rounded the numbers; export them anew with all digits"
        )
    return Dates(times, f"{found.how}{'; all are one moment' if one else ''}{future(moments)}")


def future(moments: Collection[int]) -> str:
    """A note on moments that nobody can have written at: unit or epoch may be others."""
    last = max(moments, default=0)
    if last < datetime.now(UTC).timestamp() * 1000 + YEAR:
        return ""
    day = datetime.fromtimestamp(last / 1000, UTC).date()
    return f"; some lie in the future, up to {day}: the unit or its beginning may be another"


def of_distinct(texts: Any, where: str, order: str | None) -> Dates:
    """The moments of values that differ: a year of a million rows has few days."""
    if order and "%" in order:
        return made(by_format(texts, order), f"dates as {order}")
    numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().mean() >= USUAL_SHARE:
        return of_numbers(numbers)
    found = [made(pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601"), "ISO 8601")]
    if order is None and found[0].share >= 1:
        return found[0]
    found.append(in_parts(texts, where, order))
    if max(one.share for one in found) < USUAL_SHARE:
        found += [in_words(texts, where, order)]
    return max(found, key=lambda one: one.share)


def of_moments(values: Sequence[int | None]) -> Dates:
    """Moments in ms that are plausible; others are no dates."""
    good = [v if v is not None and EARLIEST <= v <= LATEST else None for v in values]
    return Dates(good, "by its type")


def check_order(order: str) -> None:
    """Raises: BadConfig where it is neither an order nor a format."""
    if "%" in order:
        by_format(pd.Series([], dtype=object), order)
    elif order not in ORDERS:
        raise BadConfig(
            f"--dates {order}: expected {', '.join(ORDERS)}, or a format such as '%d.%m.%Y %H:%M'"
        )


def times_of_day(values: Sequence[Any]) -> list[int | None]:
    """Such as 14:30 or 2:30 PM in ms, 0 where there is none, None where it is no time of day."""
    texts = [plain(value) for value in values]
    distinct = {text: CLOCK.match(text) for text in texts}
    by_text = {text: clock(found) if found else None for text, found in distinct.items()}
    return [by_text[text] if text else 0 for text in texts]


def with_clock(days: Sequence[int | None], clocks: Sequence[Any]) -> list[int | None]:
    """Days, ms, with the times of day that stand beside them; None where one is none."""
    return [
        None if day is None or clock is None else day + clock
        for day, clock in zip(days, times_of_day(clocks), strict=True)
    ]


def clock(found: re.Match[str]) -> int | None:
    hour, minute, second = (int(found[part] or 0) for part in ("h", "m", "s"))
    if found["half"]:
        hour = hour % 12 + 12 * (found["half"].lower() == "p")
    whole = hour < 24 and minute < 60 and second < 60
    return ((hour * 60 + minute) * 60 + second) * 1000 if whole else None


def plain(value: Any) -> str:
    """A value as text, with digits and signs of any script as ASCII has them."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = value.strip() if isinstance(value, str) else str(value)
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", decimal(UNSEEN.sub("", text))).strip()


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
    try:
        return pd.to_datetime(texts, utc=True, errors="coerce", format=form)
    except (ValueError, KeyError, re.error):
        raise BadConfig(
            f"--dates {form}: no format of dates; expected one such as '%d.%m.%Y %H:%M'"
        ) from None


def of_numbers(numbers: Any) -> Dates:
    """By the unit that most of them are plausible in."""
    candidates = []
    for unit, (low, high, ms) in UNITS.items():
        inside = numbers.between(low, high)
        moments = pd.to_datetime((numbers.where(inside) * ms), unit="ms", utc=True)
        candidates.append(made(moments, f"{unit} since 1970"))
    whole = numbers.where(numbers == numbers.round())
    digits = pd.Series(["" if math.isnan(n) else f"{n:.0f}" for n in whole], dtype=object)
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
    parts = texts.str.replace(HALF, half, regex=True).str.extract(PARTS)
    numbers = parts[["a", "b", "c"]].apply(pd.to_numeric)
    fits = numbers["a"].notna()
    if not fits.any():
        return Dates([None] * len(texts), "no dates")
    chosen = order or order_of(numbers[fits], texts[fits], where)
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
    east = pd.to_timedelta(parts["zone"].fillna(parts["offset"]).map(minutes_east), unit="min")
    moments = pd.to_datetime(plausible, errors="coerce", utc=True) - east
    names = {"d": "day", "m": "month", "y": "year"}
    how = f"dates as {', '.join(names[part] for part in chosen)}"
    return made(moments, how)


def half(found: re.Match[str]) -> str:
    return f" {HALVES[found[1]]}"


def minutes_east(zone: Any) -> int:
    """Minutes that a zone such as EST, +0530 or GMT+1 is ahead of UTC."""
    found = OFFSET.fullmatch(ZONES.get(zone, zone)) if isinstance(zone, str) else None
    if not found:
        return 0
    minutes = int(found["h"]) * 60 + int(found["m"] or 0)
    return -minutes if found["sign"] == "-" else minutes


def order_of(numbers: Any, texts: Any, where: str) -> str:
    """The order that the values allow.

    Raises:
        BadConfig: they allow two, or prove two.
    """
    if (numbers["a"] > 31).mean() >= USUAL_SHARE:
        return "ymd"
    day_first = (numbers["a"] > 12).sum()
    month_first = (numbers["b"] > 12).sum()
    if day_first > month_first and year_may_lead(numbers):
        raise BadConfig(
            f"{where}: {shown(texts.iloc[0])} may be year or day first; say --dates ymd or "
            "--dates dmy"
        )
    if day_first and month_first:
        by_day = texts[numbers["a"].between(13, 31) & (numbers["b"] <= 12)]
        by_month = texts[numbers["b"].between(13, 31) & (numbers["a"] <= 12)]
        if len(by_day) and len(by_month):
            raise BadConfig(
                f"{where}: {shown(by_day.iloc[0])} has the day first and "
                f"{shown(by_month.iloc[0])} the month; write all rows in one order, or say "
                "--dates dmy or --dates mdy, so that rows that do not fit are left out"
            )
    if day_first or month_first:
        return "dmy" if day_first >= month_first else "mdy"
    if texts.str.contains(r"^\d{1,2}\.\s?\d{1,2}\.", regex=True).all():
        return "dmy"  # points stand between day, month and year wherever they stand
    raise BadConfig(
        f"{where}: {shown(texts.iloc[0])} may be day or month first, and no value tells; say "
        "--dates dmy or --dates mdy"
    )


def year_may_lead(numbers: Any) -> bool:
    """Whether 25/03/05 is rather of 2025: the last numbers are days, and vary more than the first
    ones, which years do not."""
    first, last = numbers["a"], numbers["c"]
    return bool(last.between(1, 31).all() and first.max() - first.min() < last.max() - last.min())


def in_words(texts: Any, where: str, order: str | None) -> Dates:
    """Dates with names of months, in English by their format, else in any language.

    Raises:
        BadConfig: a zone is called by a name that has several meanings.
    """
    zones = texts.str.extract(OTHER_ZONE)["zone"]
    other = zones.notna() & ~zones.isin([*ZONES, "AM", "PM"])
    if other.mean() > 1 - USUAL_SHARE:
        raise BadConfig(
            f"{where}: {shown(texts[other].iloc[0])}: names of zones such as "
            f"{zones[other].iloc[0]} are not read, since many have several meanings; write "
            "the offset instead (+0530)"
        )
    texts = texts.where(~other, "")
    zoned = texts.str.replace(ZONE, lambda found: ZONES[found[0]], regex=True)
    zoned = zoned.str.replace(r"^(\d{4}-W\d\d)$", r"\1-1", regex=True)  # a week begins on Monday
    form = max(FORMATS, key=lambda one: by_format(zoned[:PROBED], one).notna().sum())
    best = made(by_format(zoned, form), f"dates as {form}")
    # Of numbers alone `dateparser` guesses the order.
    worded = texts.str.contains(r"[^\W\d_]{3}|[^\W\d_a-zA-Z]", regex=True)
    guessed = texts.str.contains(r"\b\d{1,2}[/.-]\d{1,2}[/.-]\d", regex=True) & (order is None)
    words = texts[worded & ~guessed]
    if best.share >= USUAL_SHARE or len(words) < len(texts) or len(texts) > MOST_IN_WORDS:
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
    if not any(parse(text, settings=settings) for text in texts[:20]):
        return best
    moments = [parse(text, settings=settings) for text in texts]
    in_words = made(pd.to_datetime(pd.Series(moments), utc=True, errors="coerce"), "dates in words")
    return max(best, in_words, key=lambda one: one.share)
