"""Roles of columns: what is a slice, a date, a person; what a message may show."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled_files import Case, holds, lines, table

from driftgate.errors import BadConfig
from driftgate.labelled.reading import read
from driftgate.labelled.rows import Asked


def rows(header: str, *columns: Any, count: int = 400) -> str:
    """A file of as many rows; each column is made of the row's number."""
    return lines(header, *(",".join(str(c(n)) for c in columns) for n in range(count)))


def text(n: int) -> str:
    return f"message {n} is here"


def label(n: int) -> str:
    return "abcd"[n % 4]


def parquet(columns: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def days(year: int) -> list[date]:
    return [date(year, 1, n + 1) for n in range(20)]


MADE = [f"2025-03-{n + 1:02}T14:30:00" for n in range(20)]
TYPED = {"text": [text(n) for n in range(20)], "label": [label(n) for n in range(20)]}


@table(
    Case(
        "a column that tells the label is no slice",
        rows("text,category,subcategory", text, label, lambda n: f"s{n % 8}"),
        slices={},
        told=("'subcategory': ignored: the label follows from it",),
    ),
    Case(
        "stars beside a sentiment, with a few exceptions",
        rows(
            "text,sentiment,stars",
            text,
            lambda n: "bad" if n % 5 < 2 or n in (7, 203) else "good",
            lambda n: n % 5 + 1,
        ),
        slices={},
        told=("'stars': ignored: the label follows from it",),
    ),
    Case(
        "a column that follows from the label, with a few exceptions",
        rows("text,label,desk", text, label, lambda n: "x" if n % 4 < 2 or n in (6, 7) else "y"),
        slices={},
        told=("'desk': ignored: it follows from the label",),
    ),
    Case(
        "exceptions that are too many",
        rows("text,label,desk", text, label, lambda n: "x" if n % 4 < 2 or n % 16 == 7 else "y"),
        slices={"desk": ["x" if n % 4 < 2 or n % 16 == 7 else "y" for n in range(400)]},
    ),
    Case(
        "a slice beside a label that nearly all rows have",
        rows("text,label,plan", text, lambda n: "ab"[n % 100 == 0], lambda n: f"p{n % 3}"),
        slices={"plan": [f"p{n % 3}" for n in range(400)]},
    ),
    Case(
        "a column that is empty but for one label",
        rows("text,label,reason", text, label, lambda n: f"r{n % 3}" if n % 4 == 1 else ""),
        slices={},
        told=("'reason': ignored: the label follows from it",),
    ),
    Case(
        "numbers beside words of which one is spelt otherwise",
        rows(
            "text,label,label_text",
            text,
            lambda n: n % 2,
            lambda n: "Spam" if n == 7 else ["ham", "spam"][n % 2],
        ),
        labels=["ham", "spam"] * 200,
        joined={"spam": {"spam": 199, "Spam": 1}},
        slices={},
        told=("label, in words what 'label' says in numbers",),
    ),
    Case(
        "a column called as the time beats a typed birthday",
        parquet({**TYPED, "date_of_birth": days(1990), "created_at": MADE}),
        "data.parquet",
        times=[f"2025-03-{n + 1:02} 14:30" for n in range(20)],
        told=("'created_at': time, by its name", "'date_of_birth': ignored: a birthday"),
    ),
    Case(
        "a birthday alone is no time",
        parquet({**TYPED, "geburtsdatum": days(1990)}),
        "data.parquet",
        times=[""] * 20,
        told=("'geburtsdatum': ignored: a birthday",),
    ),
    Case(
        "a birthday as text is no time",
        rows("text,label,fecha de nacimiento", text, label, lambda n: f"1990-01-{n % 28 + 1:02}"),
        times=[""] * 400,
    ),
    Case(
        "a typed date of another name beside a birthday",
        parquet({**TYPED, "dob": days(1990), "happened": days(2025)}),
        "data.parquet",
        times=[f"2025-01-{n + 1:02}" for n in range(20)],
        told=("'happened': time, by its type",),
    ),
    Case(
        "two typed dates of other names",
        parquet({**TYPED, "happened": days(2025), "paid": days(2024)}),
        "data.parquet",
        times=[""] * 20,
        told=("'happened': ignored: several columns are dates by type; --time chooses",),
    ),
    Case(
        "a birthday is asked for",
        parquet({**TYPED, "dob": days(1990)}),
        "data.parquet",
        asked=Asked(time="dob"),
        times=[f"1990-01-{n + 1:02}" for n in range(20)],
    ),
    Case(
        "a user of two values is no person",
        rows("text,label,user", text, label, lambda n: f"agent{n % 3 % 2}"),
        subjects=[None] * 400,
        slices={"user": [f"agent{n % 3 % 2}" for n in range(400)]},
        told=("column 'user' names no persons: it holds 2 values only; --subject says",),
    ),
    Case(
        "a user of two values is asked for",
        rows("text,label,user", text, label, lambda n: f"agent{n % 3 % 2}"),
        asked=Asked(subject="user"),
        subjects=[f"agent{n % 3 % 2}" for n in range(400)],
    ),
    Case(
        "few persons in a small file",
        rows("text,label,user", text, label, lambda n: f"u{n % 3}", count=12),
        subjects=[f"u{n % 3}" for n in range(12)],
    ),
    Case(
        "thirteen persons",
        rows("text,label,user", text, label, lambda n: f"u{n % 13}"),
        subjects=[f"u{n % 13}" for n in range(400)],
    ),
    Case(
        "of two columns that are called like a label, the preferred one",
        rows("text,category,intent", text, lambda n: "xyz"[n % 3], label, count=40),
        labels=[label(n) for n in range(40)],
        told=("'intent': label, by its name, before 'category'",),
    ),
    *(
        Case(
            f"a column of dates of an unknown format is not the text: {header}",
            rows(header, lambda n: f"{n % 12 + 1:02}/2025 - quinzena {n}", text, label).replace(
                ",", ";"
            ),
            asked=Asked(time="none"),
            texts=[text(n) for n in range(400)],
        )
        for header in (
            *("Data,Mensagem,Categoria", "Data,Testo,Categoria", "Data,Treść,Kategoria"),
            *("Data,Mesaj,Categorie", "Data,written words,label"),
        )
    ),
    Case(
        "dates of an unknown format in a column called data",
        rows(
            "Data,Mensagem,Categoria", lambda n: f"{n % 12 + 1:02}/2025 - quinzena {n}", text, label
        ),
        refused=("data.csv, line 2", "column 'Data'", "no dates", "--time none"),
    ),
    Case(
        "a column called text whose cells begin with a number, beside names",
        rows("text,full name,label", lambda n: f"{n} pizzas", lambda n: f"Ann Lee {n}", label),
        texts=[f"{n} pizzas" for n in range(400)],
    ),
    Case(
        "data may be the text",
        rows("data,label", text, label),
        texts=[text(n) for n in range(400)],
    ),
    *(
        Case(
            f"a title is joined with a body of another name: {header}",
            rows(
                header,
                lambda n: f"A bad shop {n}",
                lambda n: f"I waited {n} days and nobody answers",
                label,
                count=40,
            ),
            texts=[f"A bad shop {n}\n\nI waited {n} days and nobody answers" for n in range(40)],
            told=("joined by an empty line; --text says otherwise",),
        )
        for header in (
            *("Review Title,Review Content,Review Stars", "title,full review,label"),
            *("Subject,Last customer message,Category", "title,words,label"),
        )
    ),
    Case(
        "a headline is not joined with who wrote it",
        rows("headline,full name,label", text, lambda n: f"Mary Jane Watson Parker {n}", label),
        texts=[text(n) for n in range(400)],
    ),
    Case(
        "a title and two bodies of other names",
        rows(
            "title,first words,other words,label",
            lambda n: f"A bad shop {n}",
            lambda n: f"I waited {n} days and nobody answers",
            lambda n: f"We are sorry about these {n} long days",
            label,
            count=40,
        ),
        refused=("'first words' or 'other words'", "'title'", "--text"),
    ),
    Case(
        "mailboxes are persons",
        rows("From,Body,Category", lambda n: f"Ann Lee <a{n % 20}@x.io>", text, label),
        texts=[text(n) for n in range(400)],
        subjects=[f"Ann Lee <a{n % 20}@x.io>" for n in range(400)],
    ),
    Case(
        "callers are persons",
        rows("caller_id,description,category", lambda n: f"User {n % 20}", text, label),
        subjects=[f"User {n % 20}" for n in range(400)],
    ),
    Case(
        "two columns of dates as text",
        rows(
            "text,label,Ticket opened up,Ticket closed",
            text,
            label,
            lambda n: f"2025-03-{n % 28 + 1:02}",
            lambda n: f"2025-04-{n % 28 + 1:02}",
        ),
        times=[""] * 400,
        told=(
            "'Ticket opened up': ignored: one of several dates; --time chooses one",
            "'Ticket closed': ignored: one of several dates; --time chooses one",
        ),
    ),
    *(
        Case(
            f"when something ends is not the row's time: {name}",
            rows(f"text,label,{name}", text, label, lambda n: f"2031-03-{n % 28 + 1:02}"),
            times=[""] * 400,
            told=(f"'{name}': ignored: when something ends, not the row's date",),
        )
        for name in ("due_date", "expires_at", "expiryDate")
    ),
    Case(
        "two columns of a few dates are no slices, unless they are asked for",
        rows(
            "text,label,opened on,closed on",
            text,
            label,
            lambda n: f"2025-03-{n % 5 + 1:02}",
            lambda n: f"2025-04-{n % 7 + 1:02}",
        ),
        slices={},
        told=("'opened on': ignored: one of several dates; --time chooses one",),
    ),
    Case(
        "a column of a few dates is a slice that is asked for",
        rows("text,label,expires on", text, label, lambda n: f"2025-03-{n % 5 + 1:02}"),
        asked=Asked(slices=("expires on",)),
        slices={"expires_on": [f"2025-03-{n % 5 + 1:02}" for n in range(400)]},
        told=("'expires on': slice 'expires_on' (5 values)",),
    ),
    Case(
        "tags are labels",
        rows("title,tags,score", text, label, lambda n: n % 7 - 2),
        labels=[label(n) for n in range(400)],
    ),
    *(
        Case(
            f"what an annotation says is no slice: {name}",
            rows(f"text,label,{name}", text, label, lambda n: f"x{n % 3}"),
            slices={},
            told=(f"'{name}': ignored: no app can say it of a request",),
        )
        for name in (
            *("prediction", "predicted", "gold_label", "label_1", "label_9", "is_deleted"),
            *("needs_review", "workerid", "WorkerId", "reactions"),
        )
    ),
    Case(
        "a column that is mostly empty is no slice",
        rows("text,label,team", text, label, lambda n: f"t{n % 7}" if n % 3 == 0 else ""),
        slices={},
        told=("'team': ignored: more than half of its cells are empty",),
    ),
)
def test_roles(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


def test_a_message_shows_no_cell(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(rows("email,words,other", lambda n: f"ann{n}@example.com", text, text))
    with pytest.raises(BadConfig) as caught:
        read(path)
    assert "example.com" not in str(caught.value)
    assert "message" not in str(caught.value)
    assert "email (400 values)" in str(caught.value)


def test_labels_that_nearly_all_differ_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(rows("text,label", text, lambda n: f"ann{n}@example.com"))
    with pytest.raises(BadConfig, match="choose the column by --label") as caught:
        read(path)
    assert "example.com" not in str(caught.value)


def test_words_of_the_texts_are_shown_but_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(rows("text,label", lambda n: f"Grüße {n}", label).encode("cp1252"))
    findings = read(path).findings
    assert "Grüße" in "\n".join(findings.lines())
    assert "Grüße" not in str(findings.card())
    assert "read as Windows-1252" in str(findings.card())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf"), -float("inf")])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(BadConfig, match=r"--left-out .*: expected a share .* 0 to 1"):
        Asked(left_out=share)


@pytest.mark.parametrize("share", [0, 0.0, 1, 1.0])
def test_a_share_at_the_bounds(share: float, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(rows("text,label", text, label))
    assert len(read(path, Asked(left_out=share))) == 400


def test_titles_that_recur_are_joined_with_their_bodies(tmp_path: Path) -> None:
    path = tmp_path / "issues.csv"
    lines = [
        f"The app crashes on page {n % 40},It happens each time {n},bug{n % 3}" for n in range(300)
    ]
    path.write_text("\n".join(["title,body,label", *lines]))
    assert read(path).texts[0] == "The app crashes on page 0\n\nIt happens each time 0"


def test_names_of_persons_in_a_subject_column_are_no_titles(tmp_path: Path) -> None:
    path = tmp_path / "chats.csv"
    lines = [f"Ann Miller{n % 40},It happens each time {n},bug{n % 3}" for n in range(300)]
    path.write_text("\n".join(["subject,text,label", *lines]))
    found = read(path)
    assert found.texts[0] == "It happens each time 0"
    assert found.subjects[0] == "Ann Miller0"
