"""What annotation tools, trackers, shops and public collections hand out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labelled_files import Case, holds, json_lines, lines, table

from driftgate.labelled.rows import Asked

AB = ["a", "b"]
TWO = ["the first message", "the second message"]


def document(name: str, content: Any, **more: Any) -> Case:
    return Case(name, json.dumps(content), "data.json", **more)


def a_line_each(name: str, *rows: Any, **more: Any) -> Case:
    return Case(name, json_lines(*rows), "data.jsonl", **more)


def choice(text: str, *answers: str, **more: Any) -> dict[str, Any]:
    result = [{"type": "choices", "value": {"choices": [one]}} for one in answers]
    return {"id": 1, "data": {"text": text}, "annotations": [{"result": result, **more}]}


@table(
    a_line_each(
        "Prodigy, one label: a rejected one is not learned as true",
        *(
            {"text": f"message {n}", "label": "ab"[n % 2], "answer": "accept", "_input_hash": n}
            for n in range(4)
        ),
        {"text": "message 4", "label": "a", "answer": "reject"},
        {"text": "message 5", "label": "a", "answer": "ignore"},
        labels=AB * 2,
        left_out={"the annotation was rejected": 2},
        slices={},
    ),
    a_line_each(
        "Prodigy, with a word that is not its own",
        *(
            {
                "text": f"message {n}",
                "label": "ab"[n % 2],
                "answer": ["accept", "reject"][n % 4 > 2],
            }
            for n in range(40)
        ),
        {"text": "message 40", "label": "a", "answer": "maybe"},
        left_out={"the annotation was rejected": 10},
        told=("'answer': says which annotations hold; 1 row says otherwise, such as 'maybe'",),
    ),
    a_line_each(
        "an answer of which many words are no tool's",
        *(
            {
                "text": f"message {n}",
                "label": "ab"[n % 2],
                "answer": ["accept", "reject", "accept", "maybe"][n % 4],
            }
            for n in range(40)
        ),
        left_out={},
        told=("'answer': not used: holds 'maybe'",),
    ),
    a_line_each(
        "Prodigy, one of several",
        *(
            {
                "text": f"message {n}",
                "options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}],
                "accept": ["ab"[n % 2]],
                "answer": "accept",
            }
            for n in range(4)
        ),
        {"text": "message 4", "options": [], "accept": [], "answer": "ignore"},
        labels=AB * 2,
        left_out={"the annotation was rejected": 1},
    ),
    a_line_each(
        "an answer that is no annotation tool's",
        *(
            {"text": f"a message {n}", "label": "ab"[n % 2], "answer": f"an answer {n}"}
            for n in range(4)
        ),
        labels=AB * 2,
        asked=Asked(text=("text",)),
    ),
    document("Label Studio", [choice(TWO[0], "a"), choice(TWO[1], "b")], texts=TWO, labels=AB),
    document(
        "Label Studio, not everything annotated",
        [
            *(choice(f"message {n}", "ab"[n % 2]) for n in range(6)),
            {"id": 9, "data": {"text": "x"}, "annotations": []},
            choice("y", "a", was_cancelled=True),
            choice("z", "a", "b"),
        ],
        labels=AB * 3,
        left_out={"nobody annotated it": 2, "it has several labels": 1},
    ),
    document(
        "Label Studio, JSON-MIN",
        [
            {
                "id": n,
                "text": TWO[n],
                "sentiment": AB[n],
                "annotator": 1,
                "annotation_id": n,
                "lead_time": 3.5 + n,
                "created_at": f"2025-03-05T14:30:0{n}.000000Z",
            }
            for n in range(2)
        ],
        texts=TWO,
        labels=AB,
        times=["2025-03-05 14:30", "2025-03-05 14:30:01"],
        slices={},
    ),
    Case(
        "Label Studio, CSV",
        lines(
            "annotation_id,annotator,choice,id,lead_time,text",
            "1,1,a,7,3.5,the first message",
            "2,1,b,8,2.25,the second message",
        ),
        texts=TWO,
        labels=AB,
        slices={},
    ),
    a_line_each(
        "doccano",
        *({"id": n, "text": TWO[n], "label": [AB[n]], "Comments": []} for n in range(2)),
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "spaCy",
        *({"text": TWO[n], "cats": {"a": 1.0 - n, "b": float(n)}} for n in range(2)),
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "spaCy, none holds",
        *({"text": f"message {n}", "cats": {"a": 1.0 - n % 2, "b": n % 2}} for n in range(6)),
        {"text": "neither", "cats": {"a": 0.0, "b": 0.0}},
        labels=AB * 3,
        left_out={"the label is empty": 1},
    ),
    document(
        "spaCy, pairs",
        [[TWO[n], {"cats": {"a": 1 - n, "b": n}}] for n in range(2)],
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "chat",
        *(
            {
                "messages": [
                    {"role": "system", "content": "Answer a or b."},
                    {"role": "user", "content": TWO[n]},
                    {"role": "assistant", "content": AB[n]},
                ]
            }
            for n in range(2)
        ),
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "chat with parts",
        *(
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": TWO[n]}]},
                    {"role": "assistant", "content": AB[n]},
                ]
            }
            for n in range(2)
        ),
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "ShareGPT",
        *(
            {"conversations": [{"from": "human", "value": TWO[n]}, {"from": "gpt", "value": AB[n]}]}
            for n in range(2)
        ),
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "prompt and completion",
        *({"prompt": TWO[n], "completion": f" {AB[n]}"} for n in range(2)),
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "Alpaca",
        *(
            {
                "instruction": "Sort this message by its cause.",
                "input": f"message {n} is here",
                "output": "ab"[n % 2],
            }
            for n in range(6)
        ),
        texts=[f"message {n} is here" for n in range(6)],
        labels=AB * 3,
        asked=Asked(text=("input",), label="output"),
    ),
    a_line_each(
        "Ground Truth",
        *(
            {
                "source": TWO[n],
                "intent": n,
                "intent-metadata": {
                    "class-name": AB[n],
                    "confidence": 0.9,
                    "human-annotated": "yes",
                    "creation-date": "2025-03-05T14:30:00.000000",
                    "type": "groundtruth/text-classification",
                },
            }
            for n in range(2)
        ),
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "Argilla",
        *(
            {"text": TWO[n], "label": [{"user_id": "u", "value": AB[n], "status": "submitted"}]}
            for n in range(2)
        ),
        texts=TWO,
        labels=AB,
    ),
    a_line_each(
        "Argilla 2",
        *(
            {
                "text": f"message {n}",
                "label.responses": ["ab"[n % 2]],
                "label.responses.status": ["submitted" if n < 4 else "discarded"],
            }
            for n in range(5)
        ),
        asked=Asked(label="label.responses"),
        labels=AB * 2,
        left_out={"the annotation was rejected": 1},
    ),
    document(
        "Rasa",
        {
            "rasa_nlu_data": {
                "common_examples": [
                    {"text": TWO[n], "intent": AB[n], "entities": []} for n in range(2)
                ],
                "regex_features": [],
                "lookup_tables": [],
                "entity_synonyms": [],
            }
        },
        texts=TWO,
        labels=AB,
    ),
    document(
        "LUIS",
        {
            "luis_schema_version": "7.0.0",
            "name": "app",
            "intents": [{"name": "a", "features": []}, {"name": "b", "features": []}],
            "entities": [],
            "utterances": [{"text": TWO[n], "intent": AB[n], "entities": []} for n in range(2)],
        },
        texts=TWO,
        labels=AB,
    ),
    document(
        "CLINC150",
        {
            "train": [["what is my balance", "balance"], ["move my money", "transfer"]],
            "val": [["how much have I", "balance"]],
            "oos_train": [["who are you", "oos"]],
        },
        texts=["what is my balance", "move my money", "how much have I", "who are you"],
        labels=["balance", "transfer", "balance", "oos"],
    ),
    document("columns as lists", {"text": TWO, "label": AB}, texts=TWO, labels=AB),
    document(
        "columns by index",
        {"text": {"0": TWO[0], "1": TWO[1]}, "label": {"0": "a", "1": "b"}},
        texts=TWO,
        labels=AB,
    ),
    document(
        "pandas, split",
        {"columns": ["text", "label"], "index": [0, 1], "data": [[TWO[0], "a"], [TWO[1], "b"]]},
        texts=TWO,
        labels=AB,
    ),
    document(
        "pandas, table",
        {
            "schema": {"fields": []},
            "data": [{"index": n, "text": TWO[n], "label": AB[n]} for n in range(2)],
        },
        texts=TWO,
        labels=AB,
    ),
    document(
        "pandas, index",
        {"0": {"text": TWO[0], "label": "a"}, "1": {"text": TWO[1], "label": "b"}},
        texts=TWO,
        labels=AB,
    ),
    document("pandas, values", [[TWO[0], "a"], [TWO[1], "b"]], texts=TWO, labels=AB),
    document(
        "rows under a key",
        {"version": 1, "data": [{"text": TWO[n], "label": AB[n]} for n in range(2)]},
        texts=TWO,
        labels=AB,
    ),
    document(
        "datasets-server",
        {
            "features": [
                {"feature_idx": 0, "name": "text", "type": {"dtype": "string", "_type": "Value"}},
                {"feature_idx": 1, "name": "label", "type": {"names": AB, "_type": "ClassLabel"}},
            ],
            "rows": [
                {"row_idx": n, "row": {"text": TWO[n], "label": n}, "truncated_cells": []}
                for n in range(2)
            ],
            "num_rows_total": 2,
            "num_rows_per_page": 100,
            "partial": False,
        },
        texts=TWO,
        labels=AB,
    ),
    document(
        "GeoJSON",
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": {"text": TWO[n], "label": AB[n]},
                    "geometry": None,
                }
                for n in range(2)
            ],
        },
        texts=TWO,
        labels=AB,
    ),
    document(
        "labels by their texts",
        {"a": ["the first message", "the third message"], "b": ["the second message"]},
        refused=("data.json", "no list of rows"),
    ),
    document(
        "a page of an API",
        {"count": 2, "next": None, "results": [{"text": TWO[n], "label": AB[n]} for n in range(2)]},
        texts=TWO,
        labels=AB,
    ),
    document(
        "Elasticsearch",
        {
            "hits": {
                "total": 2,
                "hits": [
                    {"_id": str(n), "_source": {"text": TWO[n], "label": AB[n]}} for n in range(2)
                ],
            }
        },
        texts=TWO,
        labels=AB,
    ),
    Case(
        "JSON over several lines",
        json.dumps([{"text": TWO[n], "label": AB[n]} for n in range(2)], indent=2),
        "data.json",
        texts=TWO,
        labels=AB,
    ),
    Case(
        "one object over several lines",
        json.dumps({"rows": [{"text": TWO[n], "label": AB[n]} for n in range(2)]}, indent=2),
        "data.json",
        texts=TWO,
    ),
    Case(
        "objects one after another over several lines",
        "\n".join(json.dumps({"text": TWO[n], "label": AB[n]}, indent=2) for n in range(2)),
        "data.json",
        texts=TWO,
        labels=AB,
    ),
    Case(
        "JSON Lines with a mark",
        "\ufeff" + json_lines({"text": TWO[0], "label": "a"}, {"text": TWO[1], "label": "b"}),
        "data.jsonl",
        texts=TWO,
    ),
    Case(
        "JSON Lines put together, each with a mark",
        "".join(
            "\ufeff" + json_lines({"text": t, "label": x}) for t, x in zip(TWO, AB, strict=True)
        ),
        "data.jsonl",
        texts=TWO,
    ),
    Case(
        "JSON Lines named .json",
        json_lines({"text": TWO[0], "label": "a"}, {"text": TWO[1], "label": "b"}),
        "data.json",
        texts=TWO,
    ),
    Case(
        "JSON Lines of lists",
        json_lines([TWO[0], "a"], [TWO[1], "b"]),
        "data.jsonl",
        texts=TWO,
        labels=AB,
    ),
    Case(
        "JSON cut off",
        json.dumps([{"text": TWO[n], "label": AB[n]} for n in range(2)])[:-20],
        "data.json",
        refused=("data.json", "is not whole JSON"),
    ),
    Case(
        "one broken line in 500",
        json_lines(*({"text": f"message {n}", "label": "ab"[n % 2]} for n in range(250)))
        + '{"text": "cut o\n'
        + json_lines(*({"text": f"message {n}", "label": "ab"[n % 2]} for n in range(250, 500))),
        "data.jsonl",
        left_out={"is not JSON": 1},
        told=("data.jsonl, line 251",),
    ),
    Case(
        "half of the lines broken",
        "".join(f'{{"text": "message {n}", "label": "a"}}\n{{"text": "cut o\n' for n in range(9)),
        "data.jsonl",
        refused=("9 of 18 rows", "is not JSON", "data.jsonl, line 2"),
    ),
    Case(
        "a line of another kind",
        json_lines(
            *({"text": f"message {n}", "label": "ab"[n % 2]} for n in range(9)), "a string", None, 7
        ),
        "data.jsonl",
        asked=Asked(left_out=0.3),
        left_out={"is not an object": 3},
    ),
    Case("nested deeply", '{"a":' * 900 + "1" + "}" * 900, "data.json", refused=("data.json",)),
    Case(
        "rows nested deeply",
        "".join(
            f'{{"text": "message {n}", "label": "a", "more": {"[" * 900}{"]" * 900}}}\n'
            for n in range(3)
        ),
        "data.jsonl",
        refused=("data.jsonl",),
    ),
    Case(
        "nested beyond all",
        "[" * 100_000 + "]" * 100_000,
        "data.json",
        refused=("data.json", "nested too deeply"),
    ),
    Case("an empty list", "[]", "data.json", refused=("data.json", "no list of rows")),
    Case("an object without rows", "{}", "data.json", refused=("data.json", "no list of rows")),
    Case("a number", "17", "data.json", refused=("data.json",)),
    Case(
        "numbers beyond all",
        json_lines({"text": "one", "label": "a"}, {"text": "two", "label": "b"})
        + '{"text": '
        + "9" * 5000
        + ', "label": "a"}\n',
        "data.jsonl",
        asked=Asked(left_out=0.5),
        left_out={"is not JSON": 1},
    ),
)
def test_tools(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


@table(
    Case(
        "Zendesk",
        lines(
            "Ticket ID,Subject,Description,Requester email,Group,Created at",
            "1,Card is lost,I lost my card today,ann@example.com,Cards,2025-03-05 14:30",
            "2,Cannot log in,The app says no,bob@example.com,Access,2025-03-06 09:05",
            "3,Card is stolen,Somebody took my card,cat@example.com,Cards,2025-03-07 09:05",
        ),
        asked=Asked(label="Group"),
        texts=[
            "Card is lost\n\nI lost my card today",
            "Cannot log in\n\nThe app says no",
            "Card is stolen\n\nSomebody took my card",
        ],
        labels=["Cards", "Access", "Cards"],
        times=["2025-03-05 14:30", "2025-03-06 09:05", "2025-03-07 09:05"],
        subjects=["ann@example.com", "bob@example.com", "cat@example.com"],
        ids=["1", "2", "3"],
        told=("joined by an empty line",),
    ),
    Case(
        "Jira",
        lines(
            "Issue key,Summary,Description,Issue Type,Created,Reporter",
            "A-1,It crashes at start,After the update it crashes,Bug,05/Mar/25 2:30 PM,u1",
            "A-2,Add a dark mode,I would like a dark mode,Story,06/Mar/25 9:05 AM,u2",
            "A-3,It crashes at exit,On leaving it crashes,Bug,07/Mar/25 9:05 AM,u1",
        ),
        texts=[
            "It crashes at start\n\nAfter the update it crashes",
            "Add a dark mode\n\nI would like a dark mode",
            "It crashes at exit\n\nOn leaving it crashes",
        ],
        labels=["Bug", "Story", "Bug"],
        times=["2025-03-05 14:30", "2025-03-06 09:05", "2025-03-07 09:05"],
    ),
    document(
        "Label Studio: annotations that disagree",
        [
            choice("message 0", "a"),
            choice("message 1", "b"),
            {
                "id": 3,
                "data": {"text": "message 2"},
                "annotations": [
                    {
                        "result": [{"type": "choices", "value": {"choices": ["a"]}}],
                        "created_at": "2025-03-06T09:05:00Z",
                    },
                    {
                        "result": [{"type": "choices", "value": {"choices": ["b"]}}],
                        "created_at": "2025-03-05T14:30:00Z",
                    },
                ],
            },
            {
                "id": 4,
                "data": {"text": "message 3"},
                "annotations": choice("", "b")["annotations"] * 2,
            },
        ],
        labels=["a", "b", "a", "b"],
        told=("1 row has several annotations that disagree; the newest counts",),
    ),
    a_line_each(
        "chats of several turns",
        *(
            {
                "messages": [
                    {"role": "user", "content": "hello"},
                    {"role": "assistant", "content": "c"},
                    {"role": "user", "content": f"message {n}"},
                    {"role": "assistant", "content": "ab"[n % 2]},
                    {"role": "user", "content": "thank you"},
                ][: 5 - n % 2]
            }
            for n in range(4)
        ),
        texts=[f"message {n}" for n in range(4)],
        labels=AB * 2,
        told=("4 chats have several turns; only the last user turn that is answered is read",),
    ),
    document(
        "GitHub issues",
        [
            {
                "number": n,
                "title": f"It does not work {n}",
                "body": None if n == 1 else f"There is an error {n}",
                "state": "open",
                "labels": [{"id": 5, "name": "ab"[n % 2], "color": "f00"}],
                "user": {"login": f"u{n}", "id": n},
                "created_at": f"2025-03-05T14:30:0{n}Z",
                "updated_at": "2025-03-09T14:30:00Z",
                "closed_at": None,
            }
            for n in range(4)
        ],
        texts=[
            "It does not work 0\n\nThere is an error 0",
            "It does not work 1",
            "It does not work 2\n\nThere is an error 2",
            "It does not work 3\n\nThere is an error 3",
        ],
        labels=AB * 2,
        subjects=["u0", "u1", "u2", "u3"],
        times=["2025-03-05 14:30", *(f"2025-03-05 14:30:0{n}" for n in range(1, 4))],
    ),
    a_line_each(
        "Amazon reviews",
        *(
            {
                "rating": 5.0 - n % 2,
                "title": f"Quite good {n}",
                "text": f"I like it a lot {n}",
                "images": [],
                "asin": "B0",
                "parent_asin": "B0",
                "user_id": f"U{n}",
                "timestamp": 1741185000000 + 60_000 * n,
                "helpful_vote": 0,
                "verified_purchase": True,
            }
            for n in range(4)
        ),
        texts=[f"Quite good {n}\n\nI like it a lot {n}" for n in range(4)],
        labels=["5", "4"] * 2,
        times=["2025-03-05 14:30", "2025-03-05 14:31", "2025-03-05 14:32", "2025-03-05 14:33"],
        subjects=["U0", "U1", "U2", "U3"],
    ),
    a_line_each(
        "HuffPost",
        *(
            {
                "link": f"https://example.com/{n}",
                "headline": f"Something happened today {n}",
                "category": ["POLITICS", "TRAVEL"][n % 2],
                "short_description": f"It happened in a town {n}",
                "authors": f"A. Writer {n}",
                "date": f"2022-09-{n + 10}",
            }
            for n in range(4)
        ),
        texts=[f"Something happened today {n}\n\nIt happened in a town {n}" for n in range(4)],
        labels=["POLITICS", "TRAVEL"] * 2,
        times=["2022-09-10", "2022-09-11", "2022-09-12", "2022-09-13"],
    ),
    a_line_each(
        "Reddit",
        *(
            {
                "title": f"How do I do this {n}",
                "selftext": "" if n == 1 else f"I tried it for hours {n}",
                "subreddit": ["python", "rust"][n % 2],
                "created_utc": 1741185000 + 60 * n,
                "author": f"u{n}",
                "score": n,
            }
            for n in range(4)
        ),
        asked=Asked(label="subreddit"),
        texts=[
            "How do I do this 0\n\nI tried it for hours 0",
            "How do I do this 1",
            "How do I do this 2\n\nI tried it for hours 2",
            "How do I do this 3\n\nI tried it for hours 3",
        ],
        labels=["python", "rust"] * 2,
        times=["2025-03-05 14:30", "2025-03-05 14:31", "2025-03-05 14:32", "2025-03-05 14:33"],
    ),
    Case(
        "Kaggle's index",
        lines(
            "Unnamed: 0,text,label", "0,the first one,a", "1,the second one,b", "2,the third one,a"
        ),
        slices={},
        labels=["a", "b", "a"],
    ),
    Case(
        "app store",
        lines(
            "reviewId,userName,content,score,thumbsUpCount,at,appVersion",
            *(
                f"r{n},U {n},I like this app {n},{n % 2 + 4},0,2025-03-05 14:3{n}:00,1.2"
                for n in range(4)
            ),
        ),
        texts=[f"I like this app {n}" for n in range(4)],
        labels=["4", "5"] * 2,
        times=[f"2025-03-05 14:3{n}" for n in range(4)],
    ),
    Case(
        "a subject line is text",
        lines(
            "subject,body,label",
            "Card is lost,I lost my card today,a",
            "Cannot log in again,The app says no,b",
            "Card was stolen,Somebody took it away,a",
        ),
        texts=[
            "Card is lost\n\nI lost my card today",
            "Cannot log in again\n\nThe app says no",
            "Card was stolen\n\nSomebody took it away",
        ],
        subjects=[None] * 3,
    ),
    Case(
        "a subject is a person",
        lines(
            "subject,text,label",
            "P1,I lost my card today,a",
            "P2,The app says no,b",
            "P1,Somebody took it away,a",
        ),
        texts=["I lost my card today", "The app says no", "Somebody took it away"],
        subjects=["P1", "P2", "P1"],
    ),
    Case(
        "one short subject line",
        lines(
            "subject,body,label",
            "Help,I lost my card today,a",
            "Hello,The app says no,b",
            "Question,Somebody took it away,a",
        ),
        told=("'subject'",),
    ),
    Case(
        "title and body",
        lines(
            "title,body,label",
            "Card is lost,I lost my card today,a",
            "Cannot log in,The app says no,b",
        ),
        texts=["Card is lost\n\nI lost my card today", "Cannot log in\n\nThe app says no"],
    ),
    Case(
        "title only is asked for",
        lines(
            "title,body,label",
            "Card is lost,I lost my card today,a",
            "Cannot log in,The app says no,b",
        ),
        asked=Asked(text=("title",)),
        texts=["Card is lost", "Cannot log in"],
    ),
    Case(
        "names of slices",
        lines(
            "text,label,app version,a=b",
            *(f"message {n} is here,{'ab'[n % 2]},v{n % 3},{n % 4 // 2}" for n in range(12)),
        ),
        slices={
            "app_version": [f"v{n % 3}" for n in range(12)],
            "a_b": [str(n % 4 // 2) for n in range(12)],
        },
    ),
    Case(
        "values of slices with blanks and signs",
        lines(
            "text,label,plan",
            *(f"message {n} is here,{'ab'[n % 2]},plan = {n % 3}" for n in range(12)),
        ),
        slices={"plan": [f"plan = {n % 3}" for n in range(12)]},
    ),
    Case(
        "two slices of one name",
        lines(
            "text,label,app version,app_version",
            *(f"message {n} is here,{'ab'[n % 2]},v{n % 3},w{n % 4 // 2}" for n in range(12)),
        ),
        slices={
            "app_version": [f"v{n % 3}" for n in range(12)],
            "app_version_2": [f"w{n % 4 // 2}" for n in range(12)],
        },
    ),
    Case(
        "a column that follows from the label is no slice",
        lines(
            "text,label,desk",
            *(f"message {n} is here,{'abc'[n % 3]},{'xxy'[n % 3]}" for n in range(12)),
        ),
        asked=Asked(label="label"),
        slices={},
        told=("'desk': ignored: it follows from the label",),
    ),
    Case(
        "thirteen values are no slice",
        lines(
            "text,label,city", *(f"message {n} is here,{'ab'[n % 2]},c{n % 13}" for n in range(40))
        ),
        slices={},
        told=("13 values, more than 12",),
    ),
    Case(
        "thirteen values are asked for",
        lines(
            "text,label,city", *(f"message {n} is here,{'ab'[n % 2]},c{n % 13}" for n in range(40))
        ),
        asked=Asked(slices=("city",)),
        slices={"city": [f"c{n % 13}" for n in range(40)]},
    ),
    Case(
        "no slices are asked for",
        lines(
            "text,label,city", *(f"message {n} is here,{'ab'[n % 2]},c{n % 3}" for n in range(40))
        ),
        asked=Asked(slices=()),
        slices={},
    ),
    Case(
        "an empty cell of a slice",
        lines(
            "text,label,city",
            *(f"message {n} is here,{'ab'[n % 2]},{['', 'x', 'y'][n % 3]}" for n in range(6)),
        ),
        slices={"city": ["", "x", "y"] * 2},
    ),
    Case(
        "Mechanical Turk: rejected work is not learned from",
        lines(
            "HITId,WorkerId,AssignmentStatus,Input.text,Answer.label",
            *(
                f"3X{n},A{n % 9},{'Rejected' if n % 5 == 0 else 'Approved'},"
                f"My parcel {n} is late,{'ab'[n % 2]}"
                for n in range(40)
            ),
        ),
        left_out={"the annotation was rejected": 8},
        slices={},
    ),
    *(
        Case(
            f"approved and rejected beside an annotator: {name}",
            lines(
                f"text,label,annotator,{name}",
                *(
                    f"My parcel {n} is late,{'ab'[n % 2]},w{n % 3},"
                    f"{'rejected' if n % 5 == 0 else 'approved'}"
                    for n in range(40)
                ),
            ),
            left_out={"the annotation was rejected": 8},
            slices={},
        )
        for name in ("status", "review_status", "reviewStatus")
    ),
    Case(
        "Toloka: parts of names behind colons, rejected work is not learned from",
        lines(
            "INPUT:text\tOUTPUT:result\tASSIGNMENT:worker_id\tASSIGNMENT:status",
            *(
                f"My parcel {n} is late\t{'ab'[n % 2]}\tw{n % 3}\t"
                f"{'REJECTED' if n % 5 == 0 else 'APPROVED'}"
                for n in range(40)
            ),
        ),
        "data.tsv",
        labels=["ab"[n % 2] for n in range(40) if n % 5],
        left_out={"the annotation was rejected": 8},
        slices={},
    ),
    Case(
        "a status without an annotator is told",
        lines(
            "text,label,status",
            *(
                f"My parcel {n} is late,{'ab'[n % 2]},{['approved', 'rejected'][n % 5 == 0]}"
                for n in range(40)
            ),
        ),
        left_out={},
        told=("'status': not used: 8 rows say 'rejected', but no column names an annotator",),
    ),
    Case(
        "a status of mostly other words is told",
        lines(
            "text,label,annotator,status",
            *(
                f"My parcel {n} is late,{'ab'[n % 2]},w{n % 3},{['red', 'rejected'][n % 5 == 0]}"
                for n in range(40)
            ),
        ),
        left_out={},
        told=("'status': not used: 8 rows say 'rejected', but most values are no annotation",),
    ),
)
def test_trackers_and_collections(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


def test_a_launch_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """What driftgate writes itself: slices, subject, id and time keep their values."""
    rows = [
        {
            "id": f"r{n}",
            "text": f"message {n}",
            "label": "ab"[n % 2],
            "time": 1741185000000 + n,
            "subject": f"s{n % 2}",
            "slices": {"lang": "de"} if n else {},
        }
        for n in range(4)
    ]
    case = a_line_each(
        "",
        *rows,
        ids=["r0", "r1", "r2", "r3"],
        subjects=["s0", "s1"] * 2,
        slices={"lang": ["", "de", "de", "de"]},
        labels=AB * 2,
    )
    holds(case, tmp_path)
