"""What becomes of labels: spellings that are joined, kept apart, told; rows that have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labelled_files import Case, holds, json_lines, lines, table

from driftgate.labelled.labels import loosely
from driftgate.labelled.rows import Asked


def csv(*labels: str, header: str = "text,label") -> str:
    return lines(header, *(f"message number {n},{label}" for n, label in enumerate(labels)))


@table(
    Case(
        "case, blanks and Unicode form are one label",
        csv("spam", "Spam", " spam ", "spam\u00a0", "ham", "HAM", "ham", "spam"),
        labels=["spam"] * 4 + ["ham"] * 3 + ["spam"],
        joined={"spam": {"Spam": 1, "spam": 4}, "ham": {"HAM": 1, "ham": 2}},
        told=("joined as 'spam': 'Spam' 1, 'spam' 4",),
    ),
    Case(
        "eight labels in two Unicode forms stay eight",
        csv(*[f"caf\u00e9 {n}" for n in range(4)], *[f"cafe\u0301 {n}" for n in range(4)]),
        labels=[f"caf\u00e9 {n}" for n in range(4)] * 2,
    ),
    Case(
        "the public SMS file with smishing",
        lines(
            "LABEL,TEXT,URL,EMAIL,PHONE",
            "ham,Your opinion about me?,No,No,No",
            "spam,Win a prize now,Yes,No,Yes",
            "Spam,Win two prizes now,Yes,No,No",
            "smishing,Your bank asks you,Yes,No,No",
            "Smishing,Your bank asks again,Yes,No,No",
            "ham,See you at nine,No,No,No",
        ),
        labels=["ham", "spam", "spam", "smishing", "smishing", "ham"],
    ),
    Case(
        "emoji are labels",
        csv("❤", "❤️", "😂", "😂", "👩‍🚀", "👩‍🚀"),
        labels=["❤️", "❤️", "😂", "😂", "👩‍🚀", "👩‍🚀"],
    ),
    Case(
        "accents are only proposed",
        csv("año", "ano", "año", "ano"),
        labels=["año", "ano", "año", "ano"],
        joined={},
        told=("labels ano and año are kept apart",),
    ),
    Case(
        "underscores are only proposed",
        csv("card lost", "card_lost", "card lost", "card_lost"),
        labels=["card lost", "card_lost"] * 2,
        told=("card lost and card_lost are kept apart",),
    ),
    Case(
        "Turkish i and ı are two letters, İ is the first one's capital",
        csv("İade", "iade", "ılık", "ILIK", "iade"),
        labels=["iade", "iade", "ılık", "ılık", "iade"],
    ),
    Case(
        "German ß stays beside ss, STRASSE is a spelling of strasse",
        csv("straße", "strasse", "STRASSE", "straße", "strasse"),
        labels=["straße", "strasse", "strasse", "straße", "strasse"],
        told=("strasse and straße are kept apart",),
    ),
    Case(
        "the Greek final sigma is no other letter",
        csv("λόγος", "ΛΌΓΟΣ", "άλλο", "λόγος"),
        labels=["λόγος", "λόγος", "άλλο", "λόγος"],
    ),
    Case(
        "full-width letters are the same letters",
        csv("ＦＡＱ", "FAQ", "ｶｰﾄﾞ", "カード", "FAQ", "カード"),
        labels=["FAQ", "FAQ", "カード", "カード", "FAQ", "カード"],
    ),
    Case(
        "unseen characters do not make a label",
        csv("re\u00adfund", "refund", "\ufeffother", "other", "refund", "other"),
        labels=["refund", "refund", "other", "other", "refund", "other"],
    ),
    Case(
        "None, NA and nan are labels, and told",
        csv("None", "NA", "nan", "yes", "yes"),
        labels=["None", "NA", "nan", "yes", "yes"],
        told=("label 'NA' (1 rows) is kept", "label 'None'", "label 'nan'"),
        left_out={},
    ),
    Case(
        "floats of whole numbers are whole numbers",
        json_lines(*({"text": f"a text {n}", "label": float(n % 2)} for n in range(4))),
        "data.jsonl",
        labels=["0", "1", "0", "1"],
    ),
    Case(
        "floats in a CSV stay as they are written",
        csv("1.0", "0.0", "1.0", "0.0"),
        labels=["1.0", "0.0", "1.0", "0.0"],
    ),
    Case(
        "true and false are labels",
        json_lines(*({"text": f"a text {n}", "label": n % 2 == 0} for n in range(4))),
        "data.jsonl",
        labels=["True", "False", "True", "False"],
    ),
    Case(
        "a list of one is its label, of several is left out",
        json_lines(
            {"text": "first", "label": ["a"]},
            {"text": "second", "label": ["b"]},
            {"text": "third", "label": ["a", "b"]},
            {"text": "fourth", "label": []},
            {"text": "fifth", "label": ["b", "b"]},
        ),
        "data.jsonl",
        Asked(left_out=0.5),
        labels=["a", "b", "b"],
        left_out={"it has several labels": 1, "the label is empty": 1},
    ),
    Case(
        "lists in the cells of a CSV",
        csv("\"['a']\"", '"[""b""]"', "['a']", "['b']"),
        labels=["a", "b", "a", "b"],
    ),
    Case(
        "labels divided by a sign are pointed out",
        csv("a", "b", "a|b", "a", "c|d"),
        labels=["a", "b", "a|b", "a", "c|d"],
        told=("label 'a|b' (1 rows) is kept as one; it looks like 'a' and 'b'",),
    ),
    Case(
        "mostly multi-label",
        json_lines(*({"text": f"a text {n}", "label": ["a", "b"]} for n in range(6))),
        "data.jsonl",
        refused=("6 of 6 rows", "several labels", "data.jsonl, line 1", "--left-out"),
    ),
    Case(
        "words are preferred to numbers that stand for them",
        lines(
            "text,label,label_text",
            *(f"message {n} is here,{n % 2},{'yes' if n % 2 else 'no'}" for n in range(6)),
        ),
        labels=["no", "yes"] * 3,
        slices={},
        told=("column 'label_text': label, in words what 'label' says in numbers",),
    ),
    Case(
        "one label only",
        csv("a", "a", "a"),
        refused=("all 3 rows have the label 'a'", "two labels", "--label"),
    ),
    Case(
        "every row another label",
        csv(*(f"label {n}" for n in range(40))),
        refused=("40 labels in 40 rows", "--label"),
    ),
    Case(
        "a label of sentences is too long to be one",
        json_lines(*({"text": f"a text {n}", "label": "word " * 60} for n in range(4))),
        "data.jsonl",
        Asked(label="label"),
        refused=("the label has more than 200 characters", "line 1"),
    ),
    Case(
        "the label is asked for",
        lines(
            "text,label,team",
            *(f"message {n} is here,{n % 2},t{n % 3}" for n in range(6)),
        ),
        asked=Asked(label="team", slices=()),
        labels=["t0", "t1", "t2"] * 2,
        slices={},
    ),
    Case(
        "the label asked for is not there",
        csv("a", "b"),
        asked=Asked(label="lable"),
        refused=("--label lable", "no such column", "label"),
    ),
    Case(
        "a column that says the same is no label",
        lines(
            "text,kind,team",
            *(f"message {n} is here,{'ab'[n % 2]},t{n % 3}" for n in range(12)),
        ),
        refused=("'kind' or 'team'", "--label COLUMN"),
    ),
    Case(
        "a mapping as a label",
        json_lines(*({"text": f"a text {n}", "label": {"name": "ab"[n % 2]}} for n in range(4))),
        "data.jsonl",
        Asked(label="label.name"),
        labels=["a", "b", "a", "b"],
    ),
    Case(
        "labels joined by other signs are pointed out",
        csv(*["a", "b"] * 3, "a#b", "a & b", "C#"),
        told=("label 'a#b' (1 rows) is kept as one", "label 'a & b' (1 rows) is kept as one"),
    ),
    Case(
        "marks of right-to-left writing do not make a label",
        csv("لغو", "\u200eلغو", "\u202bلغو\u202c", "\u2067پرداخت\u2069", "پرداخت", "پرداخت"),
        labels=["لغو"] * 3 + ["پرداخت"] * 3,
    ),
    Case(
        "labels with one row are pointed out together",
        csv(*["a", "b"] * 3, "c", "d"),
        told=("2 labels have one row, such as 'c', 'd'",),
    ),
    Case(
        "what a spreadsheet or a database writes for nothing",
        csv(*["a", "b"] * 4, "\\N", "#REF!", "#VALUE!", "unsup"),
        told=("label '\\\\N' (1 rows)", "label '#REF!'", "label '#VALUE!'", "label 'unsup'"),
    ),
    Case(
        "objects with a name as labels",
        json_lines(
            *(
                {"text": f"a text {n}", "label": [{key: "ab"[n % 2], "score": 0.9}]}
                for n, key in enumerate(["class", "class", "name", "value", "label"])
            )
        ),
        "data.jsonl",
        labels=["a", "b", "a", "b", "a"],
    ),
    Case(
        "an object without one name is no label",
        json_lines(
            *({"text": f"a text {n}", "label": [{"name": "ab"[n % 2]}]} for n in range(9)),
            {"text": "several names", "label": [{"name": "x", "value": "y"}]},
            {"text": "an answer inside", "label": [{"name": "x", "answer": {"name": "y"}}]},
        ),
        "data.jsonl",
        left_out={"the label is an object: name the column of its name by --label": 2},
    ),
    Case(
        "mostly objects as labels",
        json_lines(*({"text": f"a text {n}", "label": [{"answers": [n]}]} for n in range(6))),
        "data.jsonl",
        refused=("6 of 6 rows", "the label is an object", "--label"),
    ),
    Case(
        "a row of totals, label and text",
        lines("label;text", *(f"{'ab'[n % 2]};message number {n}" for n in range(8)), "Total;8"),
        labels=["a", "b"] * 4,
        left_out={"it is a row of totals": 1},
    ),
    *(
        Case(
            f"a row of totals: {word}",
            csv(*["a", "b"] * 4) + f"{word},8\n",
            labels=["a", "b"] * 4,
            left_out={"it is a row of totals": 1},
        )
        for word in ("Gesamt:", "Summe", "Итого", "合计", "TOTAL")
    ),
    Case(
        "a text that says total, under a label that is a number",
        lines("text,label", *(f"message number {n},{n % 2}" for n in range(8)), "total,1"),
        labels=["0", "1"] * 4 + ["1"],
    ),
)
def test_labels(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


@table(
    Case(
        "one blank text in 800 is left out",
        lines(
            "text,label",
            *(f"{'' if n == 400 else f'message number {n}'},{'ab'[n % 2]}" for n in range(800)),
        ),
        left_out={"the text is empty": 1},
        told=("left out, 1 row: the text is empty (data.csv, line 402)",),
    ),
    Case(
        "a text of 25,000 characters is left out",
        lines(
            "text,label",
            *(f"message number {n},{'ab'[n % 2]}" for n in range(9)),
            f"{'x' * 25_000},a",
        ),
        left_out={"the text has more than 20,000 characters": 1},
        told=("data.csv, line 11",),
    ),
    Case(
        "a text that says NA",
        lines("text,label", "NA,a", "null,b", "none of it works,a", "it works,b"),
        texts=["NA", "null", "none of it works", "it works"],
        left_out={},
    ),
    Case(
        "a repeated row is left out and counted",
        lines("text,label", "same,a", "same,a", "other,b", "same,b"),
        texts=["same", "other", "same"],
        left_out={"it repeats an earlier row": 1},
    ),
    Case(
        "U+2028 inside a text divides no row",
        json.dumps({"text": "one\u2028two", "label": "a"}, ensure_ascii=False)
        + "\n"
        + json.dumps({"text": "three\u0085four", "label": "b"}, ensure_ascii=False),
        "data.jsonl",
        texts=["one\u2028two", "three\u0085four"],
    ),
    Case(
        "U+2028 inside a CSV",
        lines("text,label", "one\u2028two,a", "three\x0bfour,b"),
        texts=["one\u2028two", "three\x0bfour"],
    ),
    Case(
        "lone surrogates are no text",
        lines(
            '{"text": "bad \\ud83d", "label": "a"}',
            *(json.dumps({"text": f"good {n}", "label": "ab"[n % 2]}) for n in range(9)),
        ),
        "data.jsonl",
        left_out={"its bytes are no text": 1},
    ),
    Case(
        "surrogates in a pair are one character",
        '{"text": "good \\ud83d\\ude00", "label": "a"}\n{"text": "fine", "label": "b"}\n',
        "data.jsonl",
        texts=["good 😀", "fine"],
    ),
    Case(
        "NUL bytes inside a text",
        lines("text,label", "a\0b c,x", "plain words,y", "more words,x"),
        texts=["a\0b c", "plain words", "more words"],
    ),
    Case(
        "most texts are empty",
        lines("text,label,time", *(f",{'ab'[n % 2]},2025-01-{n + 10}" for n in range(10))),
        refused=("data.csv", "text"),
    ),
    Case(
        "a text under several labels is told by its place",
        lines("text,label", "same,a", "other,b", "same,b", "more,a"),
        told=("1 text stands under several labels, such as the one in data.csv, line 4",),
    ),
    Case(
        "texts that say nothing are told",
        lines("text,label", "NULL,a", "N/A,b", "-,a", "nan,b", "it works,a", "it fails,b"),
        left_out={},
        told=("4 texts are NULL, N/A or the like (data.csv, line 2",),
    ),
)
def test_texts(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


@pytest.mark.parametrize(
    "one, other, near",
    [
        ("-1", "1", False),
        ("1.0", "10", False),
        ("1-2", "12", False),
        ("billing", '"billing"', True),
        ("billing", "“billing”", True),
        ("card-lost", "card lost", True),
        ("top_1", "top 1", True),
        ("1/2 price", "1/2_price", True),
    ],
)
def test_what_may_be_one_label(one: str, other: str, near: bool) -> None:
    assert (loosely(one) == loosely(other)) is near
