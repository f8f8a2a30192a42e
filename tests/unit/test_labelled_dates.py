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
        "a zone in letters that RFC 822 does not name",
        ["05/03/2025 14:30 CET", "06/03/2025 14:30 CET"],
        refused=("'05/03/2025 14:30 CET'", "names of zones", "+0530"),
    ),
    of(
        "Unix `date` in a zone of several meanings",
        ["Sat Mar 01 10:00:00 IST 2025", "Sun Mar 02 10:00:00 IST 2025"],
        refused=("'Sat Mar 01 10:00:00 IST 2025'", "names of zones such as IST", "--time none"),
    ),
    of(
        "ISO before a zone of several meanings",
        ["2025-03-01 10:00 BST", "2025-03-02 10:00 AEST"],
        refused=("'2025-03-01 10:00 BST'", "names of zones"),
    ),
    of(
        "one zone of several meanings",
        [*(f"{n}/03/2025 10:00" for n in range(10, 20)), "20/03/2025 10:00 IST"],
        left_out={"its date cannot be read": 1},
    ),
    of(
        "an offset behind a day first",
        ["01/03/2025 10:00:00 +0530", "13/03/2025 10:00:00 -08:00"],
        ["2025-03-01 04:30", "2025-03-13 18:00"],
    ),
    of(
        "an offset from GMT",
        ["01/03/2025 10:00:00 GMT+1", "13/03/2025 10:00:00 UTC-05:00"],
        ["2025-03-01 09:00", "2025-03-13 15:00"],
    ),
    of(
        "a US zone behind a month first",
        ["03/01/2025 10:00:00 AM EST", "03/13/2025 10:00:00 PM PDT"],
        ["2025-03-01 15:00", "2025-03-14 05:00"],
    ),
    of("from one time to another", ["01.03.2025 10:00-11:00"] * 2, refused=("--time none",)),
    of(
        "days and months first in one column",
        [*(f"{n:02d}/03/2025" for n in range(5, 15)), "03/15/2025", "03/04/2025"],
        refused=("'13/03/2025' has the day first", "'03/15/2025' the month", "--dates dmy"),
    ),
    of(
        "days and months first in one column, as the user says",
        [*(f"{n:02d}/03/2025" for n in range(5, 15)), "03/15/2025"],
        asked=Asked(dates="dmy"),
        left_out={"its date cannot be read": 1},
    ),
    of(
        "one number in all rows",
        ["1740800000000"] * 30,
        ["2025-03-01 03:33:20"] * 30,
        told=("milliseconds since 1970; all are one moment",),
    ),
    of("numbers that were rounded", ["1.74082E+12"] * 30, refused=("'1.74082E+12'", "all digits")),
    of(
        "seconds since 1960",
        ["3056400000", "3056409000"],
        told=("some lie in the future, up to 2066-11-08",),
    ),
    of(
        "marks of direction",
        ["\u200f01/03/2025\u200f", "\u202a13/\u200e03/2025\u202c", "\ufeff14/03/2025"],
        ["2025-03-01", "2025-03-13", "2025-03-14"],
    ),
    of(
        "Finnish",
        ["1.3.2025 klo 10.00", "2.3.2025 klo 9.05"],
        ["2025-03-01 10:00", "2025-03-02 09:05"],
    ),
    of(
        "Swedish",
        ["2025-03-01 kl. 10:00", "2025-03-02 kl. 9:05"],
        ["2025-03-01 10:00", "2025-03-02 09:05"],
    ),
    of("Russian", ["01.03.2025 г.", "02.03.2025 г."], ["2025-03-01", "2025-03-02"]),
    of("Polish", ["01.03.2025 r.", "02.03.2025 r."], ["2025-03-01", "2025-03-02"]),
    of(
        "Brazilian",
        ["01/03/2025 às 10h00", "13/03/2025 às 9h05"],
        ["2025-03-01 10:00", "2025-03-13 09:05"],
    ),
    of(
        "Italian",
        ["01/03/2025 ore 10:00", "13/03/2025 ore 9:05"],
        ["2025-03-01 10:00", "2025-03-13 09:05"],
    ),
    of(
        "Romanian",
        ["01.03.2025, ora 10:00", "02.03.2025, ora 9:05"],
        ["2025-03-01 10:00", "2025-03-02 09:05"],
    ),
    of(
        "Greek",
        ["1/3/2025 10:00 π.μ.", "13/3/2025 05:00 μ.μ."],
        ["2025-03-01 10:00", "2025-03-13 17:00"],
    ),
    of(
        "Vietnamese",
        ["1/3/2025 10:00 SA", "13/3/2025 05:00 CH"],
        ["2025-03-01 10:00", "2025-03-13 17:00"],
    ),
    of(
        "SAS",
        ["01MAR2025:10:00:00", "02MAR2025:17:00:00"],
        ["2025-03-01 10:00", "2025-03-02 17:00"],
    ),
    of("SAS, days", ["01MAR2025", "02MAR2025"], ["2025-03-01", "2025-03-02"]),
    of("months of digits alone", ["202503", "202504"], refused=("'202503'", "--time none")),
    of("months before years", ["03/2025", "04/2025"], refused=("'03/2025'", "--time none")),
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
