"""Columns of dates: every way that people write them is read as meant, or refused."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled_files import Case, holds, lines, table

from driftgate.labelled.rows import Asked


def dated(*dates: str, header: str = "time") -> str:
    return lines(
        f"text;label;{header}",
        *(f"message {n};{'ab'[n % 2]};{date}" for n, date in enumerate(dates)),
    )


def of(name: str, dates: list[str], times: list[str] | None = None, **more: Any) -> Case:
    return Case(name, dated(*dates), times=times, **more)


@table(
    of("ISO", ["2025-03-05", "2025-03-06"], ["2025-03-05", "2025-03-06"]),
    of(
        "ISO with zones",
        ["2025-03-05T14:30:00+01:00", "2025-03-05T14:30:00-05:00", "2025-03-05T14:30:00Z"],
        ["2025-03-05 13:30", "2025-03-05 19:30", "2025-03-05 14:30"],
    ),
    of(
        "ISO, with and without time and parts of seconds",
        ["2025-03-05", "2025-03-06 07:08", "2025-03-06T07:08:09.123456Z"],
        ["2025-03-05", "2025-03-06 07:08", "2025-03-06 07:08:09"],
    ),
    of(
        "seconds",
        ["1741185000", "1741185060"],
        ["2025-03-05 14:30", "2025-03-05 14:31"],
        told=("seconds since 1970",),
    ),
    of(
        "seconds as floats",
        ["1741185000.0", "1741185060.5"],
        ["2025-03-05 14:30", "2025-03-05 14:31"],
    ),
    of(
        "milliseconds", ["1741185000000", "1741185060000"], ["2025-03-05 14:30", "2025-03-05 14:31"]
    ),
    of(
        "microseconds",
        ["1741185000000000", "1741185060000000"],
        ["2025-03-05 14:30", "2025-03-05 14:31"],
    ),
    of(
        "nanoseconds",
        ["1741185000000000000", "1741185060000000000"],
        ["2025-03-05 14:30", "2025-03-05 14:31"],
    ),
    of(
        "digits", ["20250301", "20250402"], ["2025-03-01", "2025-04-02"], told=("digits as %Y%m%d",)
    ),
    of(
        "digits with a time",
        ["202503011430", "202504021431"],
        ["2025-03-01 14:30", "2025-04-02 14:31"],
    ),
    of(
        "digits with seconds",
        ["20250301143001", "20250402143102"],
        ["2025-03-01 14:30:01", "2025-04-02 14:31:02"],
    ),
    of(
        "years",
        ["2023", "2024", "2025"],
        ["2023-01-01", "2024-01-01", "2025-01-01"],
        told=("years",),
    ),
    of(
        "days of Excel",
        ["45721", "45722.5"],
        ["2025-03-05", "2025-03-06 12:00"],
        told=("days as spreadsheets",),
    ),
    of(
        "small numbers are no dates",
        ["1", "2", "3", "4"],
        refused=("'time' is '1'", "4 of 4", "--time none", "--dates"),
    ),
    of(
        "day first, since one tells",
        ["05/03/2025", "31/03/2025"],
        ["2025-03-05", "2025-03-31"],
        told=("day, month, year",),
    ),
    of(
        "month first, since one tells",
        ["03/05/2025", "03/31/2025"],
        ["2025-03-05", "2025-03-31"],
        told=("month, day, year",),
    ),
    of(
        "no value tells",
        ["05/03/2025", "06/03/2025"],
        refused=("column 'time'", "'05/03/2025'", "--dates dmy", "--dates mdy"),
    ),
    of(
        "no value tells and the user does",
        ["05/03/2025", "06/04/2025"],
        ["2025-03-05", "2025-04-06"],
        asked=Asked(dates="dmy"),
    ),
    of(
        "the user says month first",
        ["05/03/2025", "06/04/2025"],
        ["2025-05-03", "2025-06-04"],
        asked=Asked(dates="mdy"),
    ),
    of(
        "a format",
        ["05~03~2025", "06~04~2025"],
        ["2025-03-05", "2025-04-06"],
        asked=Asked(dates="%d~%m~%Y"),
    ),
    of(
        "a format that fits nothing",
        ["2025-03-05", "2025-03-06"],
        asked=Asked(dates="%d~%m~%Y"),
        refused=("data.csv, line 2", "--dates"),
    ),
    of(
        "a format that is none",
        ["2025-03-05", "2025-03-06"],
        asked=Asked(dates="%Q"),
        refused=("--dates %Q",),
    ),
    of(
        "an order that is none",
        ["2025-03-05", "2025-03-06"],
        asked=Asked(dates="dym"),
        refused=("--dates dym", "dmy, mdy, ymd"),
    ),
    of("short years", ["05.03.25", "31.12.24"], ["2025-03-05", "2024-12-31"]),
    of("points", ["5.3.2025", "6.3.2025"], ["2025-03-05", "2025-03-06"]),
    of(
        "points and blanks, as in Prague",
        ["5. 3. 2025 14:30", "6. 3. 2025 9:05"],
        ["2025-03-05 14:30", "2025-03-06 09:05"],
    ),
    of(
        "month first with halves of the day",
        ["3/1/2025 10:00 PM", "3/31/2025 12:05 AM"],
        ["2025-03-01 22:00", "2025-03-31 00:05"],
    ),
    of(
        "half a day with points",
        ["31/3/2025 10:00 p.m.", "1/3/2025 12:05 a. m."],
        ["2025-03-31 22:00", "2025-03-01 00:05"],
    ),
    of("Oracle", ["01-MAR-25", "28-FEB-25"], ["2025-03-01", "2025-02-28"]),
    of(
        "Oracle with a time",
        ["01-MAR-25 02.30.00.000000 PM", "28-FEB-25 09.05.00.000000 AM"],
        ["2025-03-01 14:30", "2025-02-28 09:05"],
    ),
    of(
        "mail",
        ["Wed, 05 Mar 2025 14:30:00 +0100", "Thu, 06 Mar 2025 14:30:00 +0000"],
        ["2025-03-05 13:30", "2025-03-06 14:30"],
    ),
    of(
        "mail in GMT",
        ["Wed, 05 Mar 2025 14:30:00 GMT", "Thu, 06 Mar 2025 14:30:00 GMT"],
        ["2025-03-05 14:30", "2025-03-06 14:30"],
    ),
    of(
        "Twitter",
        ["Wed Mar 05 14:30:00 +0000 2025", "Thu Mar 06 14:30:00 +0000 2025"],
        ["2025-03-05 14:30", "2025-03-06 14:30"],
    ),
    of(
        "Unix `date` in PDT",
        ["Mon Apr 06 22:19:45 PDT 2009", "Tue Apr 07 22:19:45 PDT 2009"],
        ["2009-04-07 05:19:45", "2009-04-08 05:19:45"],
    ),
    of(
        "Unix `date` in UTC",
        ["Mon Apr 06 22:19:45 UTC 2009", "Tue Apr 07 22:19:45 UTC 2009"],
        ["2009-04-06 22:19:45", "2009-04-07 22:19:45"],
    ),
    of(
        "git",
        ["Wed Mar 5 14:30:00 2025 +0100", "Thu Mar 6 14:30:00 2025 +0100"],
        ["2025-03-05 13:30", "2025-03-06 13:30"],
    ),
    of("Amazon", ["Mar 5, 2025", "Dec 12, 2024"], ["2025-03-05", "2024-12-12"]),
    of(
        "a web server's log",
        ["05/Mar/2025:14:30:00 +0000", "06/Mar/2025:14:30:00 +0000"],
        ["2025-03-05 14:30", "2025-03-06 14:30"],
    ),
    of(
        "German words",
        ["5. März 2025 14:30 Uhr", "6. April 2025 9:05 Uhr"],
        ["2025-03-05 14:30", "2025-04-06 09:05"],
    ),
    of("Spanish words", ["5 de marzo de 2025", "6 de abril de 2025"], ["2025-03-05", "2025-04-06"]),
    of("French words", ["5 mars 2025", "6 avril 2025"], ["2025-03-05", "2025-04-06"]),
    of("Polish words", ["5 marca 2025", "6 kwietnia 2025"], ["2025-03-05", "2025-04-06"]),
    of("Russian words", ["5 марта 2025 г.", "6 апреля 2025 г."], ["2025-03-05", "2025-04-06"]),
    of("Japanese", ["2025年3月5日", "2025年12月31日"], ["2025-03-05", "2025-12-31"]),
    of(
        "Japanese with a time",
        ["2025年3月5日 14時30分", "2025年12月31日 9時05分"],
        ["2025-03-05 14:30", "2025-12-31 09:05"],
    ),
    of("Korean", ["2025년 3월 5일", "2025년 12월 31일"], ["2025-03-05", "2025-12-31"]),
    of(
        "full-width digits",
        ["２０２５/０３/０５", "２０２５/１２/３１"],
        ["2025-03-05", "2025-12-31"],
    ),
    of("Arabic digits", ["٠٥/٠٣/٢٠٢٥", "٣١/٠٣/٢٠٢٥"], ["2025-03-05", "2025-03-31"]),
    of("Arabic digits in ISO", ["٢٠٢٥-٠٣-٠٥", "٢٠٢٥-٠٣-٣١"], ["2025-03-05", "2025-03-31"]),
    of("Thai years", ["05/03/2568", "31/03/2568"], refused=("'05/03/2568'", "--time none")),
    of("Thai years in ISO", ["2568-03-05", "2568-03-31"], refused=("'2568-03-05'", "--time none")),
    of("Persian years", ["1403/12/15", "1403/12/29"], refused=("'1403/12/15'", "--time none")),
    of("weeks of ISO", ["2025-W10-3", "2025-W11-1"], ["2025-03-05", "2025-03-10"]),
    of("weeks without days", ["2025-W10", "2025-W11"], ["2025-03-03", "2025-03-10"]),
    of("months", ["2025-03", "2025-04"], ["2025-03-01", "2025-04-01"]),
    of("quarters are refused", ["2025Q1", "2025Q2"], refused=("'2025Q1'", "--time none")),
    of(
        "numbers before a zone, of which no value tells the order",
        ["05/03/2025 14:30 CET", "06/03/2025 14:30 CET"],
        refused=("'05/03/2025 14:30 CET'", "--dates"),
    ),
    of(
        "years first, in two digits",
        ["25/03/05", "25/03/31", "24/12/06"],
        refused=("'25/03/05'", "--dates ymd", "--dates dmy"),
    ),
    of(
        "years first, in two digits, as the user says",
        ["25/03/05", "25/03/31", "24/12/06"],
        ["2025-03-05", "2025-03-31", "2024-12-06"],
        asked=Asked(dates="ymd"),
    ),
    of("words that are no dates", ["soon", "later"], refused=("'soon'", "--time none")),
    of(
        "relative words are no dates",
        ["2 days ago", "yesterday", "3 weeks ago", "today"],
        refused=("'2 days ago'", "--time none"),
    ),
    of("without dates", ["soon", "later"], ["", ""], asked=Asked(time="none")),
    of("years before the epoch", ["1850-03-05", "1851-03-05"], refused=("'1850-03-05'", "1970")),
    of("zeros", ["0000-00-00", "0000-00-00"], refused=("'0000-00-00'",)),
    of("impossible days", ["2025-02-30", "2025-02-31"], refused=("'2025-02-30'",)),
    of(
        "three in a hundred are empty",
        [f"2025-03-{n % 28 + 1:02d}" if n % 33 else "" for n in range(99)],
        left_out={"its date cannot be read": 3},
    ),
    of(
        "one that is none",
        ["unknown", *(f"2025-03-{n + 1:02d}" for n in range(9))],
        left_out={"its date cannot be read": 1},
        told=("data.csv, line 2",),
    ),
    of(
        "half are empty",
        [f"2025-03-{n + 1:02d}" if n % 2 else "" for n in range(20)],
        refused=("'time'", "10 of 20", "--time none"),
    ),
    of(
        "two ways of writing in one column",
        [*(f"2025-03-{n + 1:02d}" for n in range(9)), *(f"{n + 10}/03/2025" for n in range(9))],
        refused=("'time'", "of 18"),
    ),
    Case(
        "a column of dates without the name of one",
        lines("text,label,when?", "one,a,2025-03-05", "two,b,2025-03-06"),
        times=["2025-03-05", "2025-03-06"],
        told=("the only column of dates",),
    ),
    Case(
        "a date and a time of day",
        lines("text,label,date,time", "one,a,2025-03-05,14:30", "two,b,2025-03-06,09:05"),
        times=["2025-03-05 14:30", "2025-03-06 09:05"],
    ),
    Case(
        "a date and a time of day, in Italy",
        lines("testo;etichetta;data;ora", "uno;a;05/03/2025;14:30", "due;b;31/03/2025;09:05"),
        times=["2025-03-05 14:30", "2025-03-31 09:05"],
    ),
    Case(
        "only times of day",
        lines("text,label,time", "one,a,14:30", "two,b,09:05"),
        refused=("'time'", "'14:30'", "--time none"),
    ),
    Case(
        "created is preferred to updated",
        lines(
            "text,label,updated_at,created_at",
            "one,a,2025-05-05,2025-03-05",
            "two,b,2025-05-06,2025-03-06",
        ),
        times=["2025-03-05", "2025-03-06"],
    ),
    Case(
        "another column is asked for",
        lines(
            "text,label,updated,created_at",
            "one,a,2025-05-05,2025-03-05",
            "two,b,2025-05-06,2025-03-06",
        ),
        asked=Asked(time="updated"),
        times=["2025-05-05", "2025-05-06"],
    ),
)
def test_dates(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


MOMENT = datetime(2025, 3, 5, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("name", ["time", "timestamp"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_knows_its_unit(name: str, zone: str | None, unit: str, tmp_path: Path) -> None:
    moments = pa.array([MOMENT, MOMENT + timedelta(minutes=1)], pa.timestamp(unit, tz=zone))
    data = io.BytesIO()
    pq.write_table(pa.table({"text": ["one", "two"], "label": ["a", "b"], name: moments}), data)
    times = ["2025-03-05 14:30", "2025-03-05 14:31"]
    holds(
        Case("", data.getvalue(), "data.parquet", times=times, told=("time, by its type",)),
        tmp_path,
    )


def test_pandas_keeps_moments_of_several_zones_as_text(tmp_path: Path) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    rows = [MOMENT.isoformat(), MOMENT.astimezone(east).isoformat()]
    holds(of("", rows, ["2025-03-05 14:30"] * 2), tmp_path)
