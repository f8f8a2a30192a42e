"""CSV and its kin, in the encodings and dialects of many offices."""

from __future__ import annotations

import codecs
import time
from pathlib import Path

from labelled_files import Case, holds, lines, table

from driftgate.labelled.reading import read
from driftgate.labelled.rows import Asked

TWO = ["the first one", "the second one"]
QUOTED = [*(f"message {n},{'xy'[n % 2]}" for n in range(299)), '"hello, world",x']


def with_lines(at: int, *changed: str) -> str:
    """300 rows, one of them quoted, with other lines from the line `at` on."""
    rows = ["text,label", *QUOTED]
    rows[at - 1 : at - 1 + len(changed)] = changed
    return lines(*rows)


def half_broken(broken: int) -> bytes:
    """A hundred lines beyond ASCII, of which some are cp1252 and the others UTF-8."""
    rows = [f"schöne Grüße {n},{['größer', 'kleiner'][n % 2]}" for n in range(100)]
    encoded = [row.encode("cp1252" if n < broken else "utf-8") for n, row in enumerate(rows)]
    return b"\n".join([b"text,label", *encoded])


POLISH = "Żółta łódź płynie, gdzieś źle i głęboko w Łodzi, proszę o zwrot pieniędzy"
TURKISH = "Şikâyetim var: kargo gelmedi, paramı geri istiyorum, çok üzgünüm, teşekkür"
RUSSIAN = "Здравствуйте, не работает интернет со вчерашнего вечера, помогите пожалуйста"
JAPANESE = "お世話になっております。カードが届きません。確認をお願いします。"
CHINESE = "您好，我的信用卡还没有收到，请帮我查询一下，谢谢您的帮助。"
KOREAN = "안녕하세요. 카드가 아직 도착하지 않았습니다. 확인 부탁드립니다."
ARABIC = "مرحبا، لم تصل البطاقة بعد، أرجو المساعدة في أقرب وقت ممكن وشكرا لكم"
GERMAN = "Größe und Gewicht stimmen nicht, schöne Grüße aus Köln, die Rechnung fehlt"


def encoded(text: str, encoding: str) -> bytes:
    return lines(
        "text;label", *(f"{text} {n};{'ja' if n % 2 else 'nein'}" for n in range(6))
    ).encode(encoding)


def read_in(text: str, encoding: str, *told: str, file: str = "data.csv") -> Case:
    texts = [f"{text} {n}" for n in range(6)]
    return Case(
        f"encoding {encoding}: {text[:9]}",
        encoded(text, encoding),
        file,
        texts=texts,
        labels=["nein", "ja"] * 3,
        told=told,
    )


@table(
    read_in(GERMAN, "cp1252", "--encoding says otherwise"),
    read_in(POLISH, "cp1250", "--encoding says otherwise"),
    read_in(TURKISH, "cp1254", "--encoding says otherwise"),
    read_in(RUSSIAN, "cp1251", "--encoding says otherwise"),
    read_in(RUSSIAN, "koi8-r", "--encoding says otherwise"),
    read_in(JAPANESE, "cp932", "--encoding says otherwise"),
    read_in(CHINESE, "gb18030", "--encoding says otherwise"),
    read_in("您好，我的信用卡還沒有收到，請幫我查詢一下，謝謝您的幫助。", "big5"),
    read_in(JAPANESE, "iso-2022-jp", "--encoding says otherwise"),
    read_in("I don’t “like” it – at £5", "cp1252", "--encoding says otherwise"),
    read_in(KOREAN, "euc-kr", "--encoding says otherwise"),
    read_in(ARABIC, "cp1256", "--encoding says otherwise"),
    read_in(JAPANESE, "utf-16"),
    read_in(GERMAN, "utf-16-le"),
    read_in(GERMAN, "utf-8-sig"),
    read_in(GERMAN, "utf-8", file="DATA.CSV"),
    Case(
        "MacRoman is read when it is said",
        encoded(GERMAN, "mac-roman"),
        asked=Asked(encoding="macroman"),
        texts=[f"{GERMAN} {n}" for n in range(6)],
    ),
    Case(
        "an encoding that is none",
        encoded(GERMAN, "cp1252"),
        asked=Asked(encoding="cp125"),
        refused=("--encoding cp125", "no such encoding", "cp1252"),
    ),
    Case(
        "an encoding that turns bytes into bytes",
        encoded(GERMAN, "cp1252"),
        asked=Asked(encoding="base64"),
        refused=("--encoding base64",),
    ),
    Case(
        "the wrong encoding is said",
        encoded(JAPANESE, "cp932"),
        asked=Asked(encoding="utf-8"),
        refused=("its bytes are no text in the file's encoding", "line 2"),
    ),
    Case(
        "UTF-16 is said of what is none",
        encoded(GERMAN, "utf-8") + b"x",
        asked=Asked(encoding="utf-16"),
        refused=("data.csv",),
    ),
    Case(
        "one broken line among good ones is left out",
        lines("text,label", *(f"schöne Grüße {n},{'ab'[n % 2]}" for n in range(30))).encode()
        + b"sch\xf6ne,a\n",
        left_out={"its bytes are no text": 1},
        told=("data.csv, line 32",),
    ),
    Case(
        "one broken line in English text is left out",
        lines("text,label", *(f"a nice greeting {n},{'ab'[n % 2]}" for n in range(30))).encode()
        + b"caf\xe9 is nice,a\n",
        told=("--encoding says otherwise",),
    ),
    Case(
        "a tenth of the lines in another encoding is left out",
        half_broken(10),
        texts=[f"schöne Grüße {n}" for n in range(10, 100)],
        labels=["größer", "kleiner"] * 45,
        left_out={"its bytes are no text": 10},
    ),
    Case(
        "a fifth of the lines in another encoding is too much, and no mojibake",
        half_broken(21),
        refused=("21 of 100 rows", "its bytes are no text", "line 2", "--encoding"),
    ),
    Case(
        "half of the lines in another encoding",
        half_broken(50),
        asked=Asked(left_out=0.5),
        labels=["größer", "kleiner"] * 25,
        left_out={"its bytes are no text": 50},
    ),
    Case(
        "files that were put together, each with its mark and header",
        lines("text,label", "one,a", "two,b").encode("utf-8-sig") * 2,
        texts=["one", "two"],
        labels=["a", "b"],
        left_out={"it repeats the header": 1, "it repeats an earlier row": 2},
    ),
    Case(
        "Unicode text of Excel",
        lines("text\tlabel", "grün, sehr grün\tja", "blau\tnein")
        .replace("\n", "\r\n")
        .encode("utf-16"),
        "data.txt",
        texts=["grün, sehr grün", "blau"],
    ),
)
def test_encodings(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


@table(
    Case(
        "semicolons",
        lines("text;label", "one, two;a", "three, four, five;b"),
        texts=["one, two", "three, four, five"],
        told=("fields divided by semicolons",),
    ),
    Case("sep=;", "sep=;\r\ntext;label\r\none, two;a\r\nthree;b\r\n", texts=["one, two", "three"]),
    Case(
        "sep=, quoted",
        '"sep=;"\r\ntext;label\r\none, two;a\r\nthree;b\r\n',
        texts=["one, two", "three"],
    ),
    Case("vertical bars", lines("text|label", "one|a", "two|b"), texts=["one", "two"]),
    Case(
        "tabs in a file named .csv",
        lines("text\tlabel", "one, two, three\ta", "four\tb"),
        texts=["one, two, three", "four"],
    ),
    Case(
        "decimal commas",
        lines("text;label;price", "one;a;1,50", "two;b;2,75", "three;a;1,50"),
        texts=["one", "two", "three"],
        slices={},
    ),
    Case(
        "a comment above the header with as many fields as a row",
        lines("# tickets, 2025", "text,label", "one,a", "two,b", "three,a"),
        texts=["one", "two", "three"],
        told=("1 to 1: lines above the header",),
    ),
    Case(
        "titles above the header with as many fields as a row",
        lines("Report:,Tickets", "Date:,2025-03-01", "message,category", "one,a", "two,b"),
        texts=["one", "two"],
        labels=["a", "b"],
        told=("1 to 2: lines above the header",),
    ),
    Case(
        "a comment above a header of names that are not known",
        lines(
            "# tickets, 2025", "what,where", *(f"it is late {n},{'ab'[n % 2]}" for n in range(9))
        ),
        texts=[f"it is late {n}" for n in range(9)],
        asked=Asked(text=["what"], label="where"),
        told=("1 to 1: lines above the header",),
    ),
    Case(
        "a header that begins with #",
        lines("# text,label", "one,a", "two,b", "three,a"),
        texts=["one", "two", "three"],
    ),
    Case(
        "a comment between rows",
        lines(
            "text,label",
            "1,a",
            "2,b",
            "# more, of May",
            "# more",
            *(f"{n},{'ab'[n % 2]}" for n in range(3, 9)),
        ),
        left_out={"it begins with # and is a comment": 2},
        told=("data.csv, line 4",),
    ),
    Case(
        "texts that begin with #",
        lines("text,label", "one,a", "# two,b", "#three,c", "four,b"),
        texts=["one", "# two", "#three", "four"],
    ),
    Case(
        "SurveyMonkey: kinds of answers below the header",
        lines(
            "id,What happened?,Which topic?",
            ",Open-Ended Response,Response",
            *(f"{n},it is late {n},{'ab'[n % 2]}" for n in range(9)),
        ),
        asked=Asked(text=["What happened?"], label="Which topic?"),
        texts=[f"it is late {n}" for n in range(9)],
        left_out={"it describes the columns": 1},
    ),
    Case(
        "Qualtrics: questions and ids below the header",
        lines(
            "Progress,Q1,Q2",
            "Progress,Please describe it,Which area?",
            *['"{""ImportId"":""_recordId""}","{""ImportId"":""QID1""}","{""ImportId"":""QID2""}"'],
            *(f"R_{n},it is late {n},{'ab'[n % 2]}" for n in range(9)),
        ),
        asked=Asked(text=["Q1"], label="Q2"),
        texts=[f"it is late {n}" for n in range(9)],
        left_out={"it describes the columns": 2},
        told=("data.csv, line 2, data.csv, line 3",),
    ),
    Case(
        "types below the header",
        lines(
            "text,label,n", "string,string,int", *(f"no {n},{'ab'[n % 2]},{n}" for n in range(9))
        ),
        texts=[f"no {n}" for n in range(9)],
        left_out={"it describes the columns": 1},
    ),
    Case(
        "words that are types and labels",
        lines("text,label", "date,int", "number,int", "string,text"),
        texts=["date", "number", "string"],
    ),
    Case(
        "blanks before quotation marks",
        lines(
            "text, label", '"it is late, again", "billing"', '"no", "account"', '"yes", "account"'
        ),
        texts=["it is late, again", "no", "yes"],
        labels=["billing", "account", "account"],
    ),
    Case(
        "blanks before quotation marks that enclose commas",
        lines("label, text", *(f'{"ab"[n % 2]}, "late, again, {n}"' for n in range(9))),
        texts=[f"late, again, {n}" for n in range(9)],
    ),
    Case(
        "blanks before quotation marks that belong to the text",
        lines("label\ttext", "a\tone", 'b\t "two" she said', 'a\t "three', 'b\tfour"', "a\tfive"),
        texts=["one", '"two" she said', '"three', 'four"', "five"],
    ),
    Case(
        "tabs, and one comma in each text",
        lines(*(f"{['ham', 'spam'][n % 2]}\tHey there {n}, call me" for n in range(9))),
        texts=[f"Hey there {n}, call me" for n in range(9)],
    ),
    Case("lone carriage returns", "text,label\rone,a\rtwo,b\r", texts=["one", "two"]),
    Case(
        "carriage returns and line feeds mixed",
        "text,label\r\none,a\ntwo,b\r\n",
        texts=["one", "two"],
    ),
    Case(
        "embedded line ends",
        'text,label\n"one\ntwo",a\n"three\r\nfour",b\n',
        texts=["one\ntwo", "three\r\nfour"],
    ),
    Case(
        "quotes doubled",
        'text,label\n"say ""hi"", now",a\nfine,b\n',
        texts=['say "hi", now', "fine"],
    ),
    Case(
        "quotes behind backslashes",
        'text,label\n"say \\"hi, you\\" now",a\n"fine",b\n"well, so",a\n',
        texts=['say "hi, you" now', "fine", "well, so"],
    ),
    Case(
        "a trailing delimiter in every row but the header",
        lines("text,label", "one,a,", "two,b,", "three,a,"),
        texts=["one", "two", "three"],
    ),
    Case(
        "a trailing delimiter in every row",
        lines("text,label,", "one,a,", "two,b,"),
        texts=["one", "two"],
        labels=["a", "b"],
    ),
    Case(
        "R's write.table",
        lines('"text" "label"', '"1" "one more" "a"', '"2" "two more" "b"', '"3" "and three" "a"'),
        "data.txt",
        texts=["one more", "two more", "and three"],
        labels=["a", "b", "a"],
    ),
    Case(
        "R's write.csv",
        lines('"","text","label"', '"1","one more","a"', '"2","two more","b"'),
        texts=["one more", "two more"],
        slices={},
    ),
    Case(
        "R's write.table with commas",
        lines('"text","label"', '"1","one more","a"', '"2","two more","b"'),
        texts=["one more", "two more"],
        labels=["a", "b"],
    ),
    Case(
        "ragged rows from unquoted commas",
        lines("text,label", *(f"row {n},{'ab'[n % 2]}" for n in range(9)), "well, so,a"),
        left_out={"has other than 2 fields": 1},
        told=("data.csv, line 11",),
    ),
    Case(
        "half the rows ragged",
        lines(
            "text,label",
            *(f"row {n},{'ab'[n % 2]}" for n in range(9)),
            *(f"well, so {n},a" for n in range(8)),
        ),
        refused=("8 of 17 rows", "quote texts that contain the delimiter", "line 11", "--left-out"),
    ),
    Case(
        "rows of more fields than the header, since no text is quoted",
        lines("text,label", *(f"well, so {n},{'ab'[n % 2]}" for n in range(9))),
        refused=("data.csv, line 1: the header has 2 fields", "most rows have 3", "quote texts"),
    ),
    Case(
        "duplicate and empty names of columns",
        lines(
            "text,label,label,,",
            "one,a,x,1,p",
            "two,b,y,2,q",
            "three,a,y,3,q",
            "four,b,x,4,p",
            "five,a,y,4,q",
        ),
        labels=["a", "b", "a", "b", "a"],
        texts=["one", "two", "three", "four", "five"],
    ),
    Case(
        "a header in Chinese",
        lines("内容,类别,日期", "卡丢了,卡,2025-01-02", "没收到,物流,2025-01-03"),
        texts=["卡丢了", "没收到"],
        labels=["卡", "物流"],
        times=["2025-01-02", "2025-01-03"],
    ),
    Case(
        "a header in Spanish",
        lines("Mensaje;Categoría;Fecha", "no llega;envío;31/12/2024", "no va;técnico;01/02/2025"),
        labels=["envío", "técnico"],
        times=["2024-12-31", "2025-02-01"],
    ),
    Case(
        "a header in German",
        lines(
            "Nachricht;Kategorie;Eingang;Kundennummer",
            "fehlt noch;Versand;05.03.2025 14:30;K1",
            "ist kaputt;Technik;06.03.2025 08:00;K2",
        ),
        labels=["Versand", "Technik"],
        times=["2025-03-05 14:30", "2025-03-06 08:00"],
        subjects=["K1", "K2"],
    ),
    Case(
        "the SMS Spam Collection",
        lines(
            "ham\tGo until jurong point, crazy..",
            "spam\tFree entry in 2 a wkly comp to win",
            'ham\t"U dun say so early hor... U c already then say',
            "ham\tNah I don't think he goes to usf",
            'ham\tHe said "yes',
            "spam\tWINNER!! As a valued customer",
            "ham\tEven my brother is not like to speak",
        ),
        "SMSSpamCollection",
        labels=["ham", "spam", "ham", "ham", "ham", "spam", "ham"],
        texts=[
            "Go until jurong point, crazy..",
            "Free entry in 2 a wkly comp to win",
            '"U dun say so early hor... U c already then say',
            "Nah I don't think he goes to usf",
            'He said "yes',
            "WINNER!! As a valued customer",
            "Even my brother is not like to speak",
        ],
    ),
    Case(
        "Sentiment140: no header, six columns, PDT",
        lines(
            '"0","1467810369","Mon Apr 06 22:19:45 PDT 2009",'
            '"NO_QUERY","_TheSpecialOne_","@switchfoot a bummer, really"',
            '"0","1467810672","Mon Apr 06 22:19:49 PDT 2009",'
            '"NO_QUERY","scotthamilton","is upset that he has none"',
            '"4","1467822272","Mon Apr 06 22:22:45 PDT 2009",'
            '"NO_QUERY","ersle","I LOVE u guys, the best"',
            '"4","1467822273","Tue Apr 07 01:22:45 PDT 2009",'
            '"NO_QUERY","ersla","I like the u guys are"',
        ),
        labels=["0", "0", "4", "4"],
        times=[
            "2009-04-07 05:19:45",
            "2009-04-07 05:19:49",
            "2009-04-07 05:22:45",
            "2009-04-07 08:22:45",
        ],
    ),
    Case(
        "AWS Comprehend: label and text, no header",
        lines(
            "CARD,my card has not arrived yet",
            "LOGIN,I cannot log in at all",
            "CARD,where is my new card now",
        ),
        labels=["CARD", "LOGIN", "CARD"],
        texts=["my card has not arrived yet", "I cannot log in at all", "where is my new card now"],
    ),
    Case("a header only", "text,label\n", refused=("data.csv", "no row")),
    Case("nothing", "", refused=("data.csv", "empty")),
    Case("blanks only", " \n\n ", refused=("data.csv", "empty")),
    Case("one column", lines("text", "one", "two"), refused=("only one column", "two or more")),
    Case(
        "a quotation mark that swallows rows",
        'text,label\n"one is here,a\n'
        + "".join(f"row {n},{'ab'[n % 2]}\n" for n in range(40))
        + '"two, three",b\nmore,a\n',
        refused=("line 2", "quotation mark", "close it"),
    ),
    Case(
        "a stray quotation mark leaves out the lines that it swallows",
        with_lines(51, '"I want it now,x', "so do I,y", "and I too,x", 'he said "no",y'),
        left_out={"a quotation mark": 4},
        told=("300 rows read, 296 kept", "data.csv, line 51", "data.csv, line 52", "close it"),
    ),
    Case(
        "a stray quotation mark that swallows no whole line",
        with_lines(51, '"I want it now,x', 'he said "no",y'),
        left_out={"a quotation mark": 2},
    ),
    Case(
        "a stray quotation mark that is closed by another one before the delimiter",
        with_lines(51, '"I want it now,x', "so do I,y", 'the screen has 5",y'),
        left_out={"a quotation mark": 3},
    ),
    Case(
        "a stray quotation mark in a row of another width",
        with_lines(51, '"I want it now,x', "so do I,y", 'he said "no, never",y'),
        left_out={"a quotation mark": 3},
    ),
    Case(
        "a stray quotation mark after the label",
        lines(
            "label,text",
            *(f"{'xy'[n % 2]},message {n}" for n in range(40)),
            'x,"I want it now',
            "y,so do I",
            'x,he said "no"',
            'y,"hello, world"',
        ),
        left_out={"a quotation mark": 3},
    ),
    Case(
        "letters with as many commas in a line as a row has",
        lines(
            "text,label",
            *(f'"Dear Ann {n},\nit is lost, again\nyours, Bob",{"xy"[n % 2]}' for n in range(9)),
            *(f"message {n},{'xy'[n % 2]}" for n in range(9)),
        ),
        left_out={},
        texts=[
            *(f"Dear Ann {n},\nit is lost, again\nyours, Bob" for n in range(9)),
            *(f"message {n}" for n in range(9)),
        ],
    ),
    Case(
        "a long letter with as many commas in a line as a row has",
        with_lines(
            51, '"Dear Ann,', *(f"line {n}, and more" for n in range(8)), "yours, Bob", 'Bob",x'
        ),
        left_out={},
    ),
    Case(
        "no header, and the first label is a word that columns are called",
        lines(
            "title\tHow do I rename it",
            *(f"{['translate', 'title', 'question'][n % 3]}\tHow do I do it {n}" for n in range(9)),
        ),
        texts=["How do I rename it", *(f"How do I do it {n}" for n in range(9))],
        labels=["title", *["translate", "title", "question"] * 3],
        told=("no header",),
    ),
    Case(
        "a text that says what its column is called",
        lines("text,label", "text,a", "two,b", "three,a"),
        texts=["text", "two", "three"],
    ),
    Case(
        "a column called ORCID",
        lines("ORCID,text,label", *(f"0000-{n},message {n},{'ab'[n % 2]}" for n in range(9))),
        texts=[f"message {n}" for n in range(9)],
    ),
    Case(
        "a column called PAR1",
        lines("PAR1,text,label", *(f"x{n},message {n},{'ab'[n % 2]}" for n in range(9))),
        texts=[f"message {n}" for n in range(9)],
    ),
    Case(
        "a column called BZh",
        lines("BZh9,text,label", *(f"x{n},message {n},{'ab'[n % 2]}" for n in range(9))),
        texts=[f"message {n}" for n in range(9)],
    ),
    Case(
        "a text that begins like a web page",
        lines(*(f"<html> is at the top of page {n},{'ab'[n % 2]}" for n in range(9))),
        texts=[f"<html> is at the top of page {n}" for n in range(9)],
    ),
    Case(
        "a text that begins like a table",
        lines(*(f"<table> number {n} is broken;{'ab'[n % 2]}" for n in range(9))),
        texts=[f"<table> number {n} is broken" for n in range(9)],
    ),
    Case(
        "commas in numbers of every row",
        lines("text;label;score", *(f"message {n};{'ab'[n % 2]};0,9" for n in range(300))),
        texts=[f"message {n}" for n in range(300)],
    ),
    Case(
        "a title above the header",
        lines("Export of 2025", "", "text,label", "one,a", "two,b", "three,a"),
        texts=["one", "two", "three"],
        told=("lines above the header",),
    ),
    Case(
        "fastText",
        lines(
            "__label__card my card is lost",
            "__label__login I cannot log in",
            "no label here",
            *(f"__label__card card {n}" for n in range(9)),
        ),
        "train.txt",
        left_out={"has no __label__": 1},
    ),
    Case(
        "fastText with two labels",
        lines(*(f"__label__a __label__b text {n}" for n in range(4))),
        "train.txt",
        refused=("several labels",),
    ),
    Case("a web page", "<!DOCTYPE html><html></html>", refused=("data.csv", "web page")),
    Case(
        "plain prose",
        lines("This is a letter.", "It has no columns.", "Yours, me."),
        "letter.txt",
        refused=("letter.txt",),
    ),
)
def test_dialects(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


def test_a_line_of_five_megabytes_is_no_hang(tmp_path: Path) -> None:
    """A single line, in CSV and as JSON, is answered in seconds."""
    for file, text in {
        "a.csv": "word " * 1_000_000,
        "c.jsonl": '{"text": "' + "x" * 5_000_000 + '", "label": "a"}\n',
        "d.jsonl": "{" * 5_000_000,
        "e.json": "[" * 5_000_000,
        "f.csv": "," * 5_000_000,
        "g.csv": '"' * 5_000_000,
        "h.txt": "\\\"'" * 1_700_000,
    }.items():
        begin = time.monotonic()
        holds(Case(file, text, file, refused=(file,)), tmp_path)
        assert time.monotonic() - begin < 20, file


def test_a_text_of_five_megabytes_is_left_out(tmp_path: Path) -> None:
    long = "text,label\nok,a\nfine,b\nwell,a\n" + '"' + "word, " * 900_000 + '",b\n' + "so,b\n"
    case = Case(
        "", long, texts=["ok", "fine", "well", "so"], left_out={"the text has more than": 1}
    )
    holds(case, tmp_path)


def test_places_are_lines_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(codecs.BOM_UTF8 + b'text,label\n"one\ntwo",a\nthree,b\n')
    assert list(read(path).places) == ["data.csv, line 2", "data.csv, line 4"]
