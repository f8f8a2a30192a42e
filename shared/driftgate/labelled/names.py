"""What columns are called, in the languages that files come in. Earlier names are preferred."""

from __future__ import annotations

import re
import unicodedata

OURS = "slices."  # as a launch file has them
# Where a word begins inside `WorkerId` and `HITId`.
HUMPS = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def plain(name: str) -> str:
    """A name as it is compared: `Created At` is `created_at`."""
    folded = unicodedata.normalize("NFKC", name).casefold().strip().strip('"')
    return "_".join(folded.replace("-", " ").replace("_", " ").split())


def split(name: str) -> str:
    """A name in capitals inside, as it is compared.

    >>> split("WorkerId"), split("HITId"), split("Answer.label")
    ('worker_id', 'hit_id', 'answer.label')
    """
    return plain(HUMPS.sub("_", name))


def words(text: str) -> tuple[str, ...]:
    return tuple(plain(word) for word in text.split())


TEXT = words(
    """
    text message query utterance sentence content body comment review tweet post prompt question
    document email_text sms request input description complaint transcript abstract selftext
    review_text review_body reviewtext comment_text message_text text_content textcontent
    raw_text full_text consumer_complaint_narrative phrase
    texto texte testo nachricht mensaje messaggio mensagem tekst texto_completo komentarz
    comentario
    commentaire commento kommentar frage anfrage beschreibung descripcion descrição descricao
    metin mesaj yorum текст сообщение описание 文本 内容 正文 テキスト 本文 텍스트 내용 نص टेक्स्ट
    data source raw
    """
)
TITLE = words(
    """
    title headline subject summary short_description review_title issue_title betreff asunto
    objet oggetto assunto titel titre titulo título titolo tytuł temat başlık konu заголовок тема
    标题 件名 タイトル 제목
    """
)
LABEL = words(
    """
    label labels intent category class target label_text label_name category_name intent_name
    tag topic sentiment emotion choice choices accept annotation completion queue department
    classname class_name issue_type issuetype displayname tags polarity rating stars score type
    etiqueta categoria categoría catégorie categorie kategorie kategoria klasse clase classe
    etichetta etykieta rótulo rotulo étiquette label_id thema intención intencion sentimento
    sentimiento etiket kategori sınıf метка категория класс тема_класс 标签 类别 分类 ラベル
    カテゴリ 레이블 카테고리 분류 تصنيف लेबल
    """
)
TIME = words(
    """
    time date timestamp datetime created_at created date_time created_time createdat
    creation_date date_created created_utc published published_at publish_date posted_at
    received received_at sent sent_at opened opened_at submitted_at event_time date_received
    reported review_date reviewtime unixreviewtime updated_at year
    fecha datum data_hora datetime_utc zeit zeitpunkt uhrzeit erstellt erstellt_am eingang
    date_heure data_criacao fecha_hora tarih дата время 日期 时间 日付 日時 날짜 تاريخ data
    """
)
TEXT_OR_DATE = {"data"}  # the Italian, Polish, Portuguese and Romanian word for date
# A time of day, beside a date.
CLOCK = words("time hour hora heure ora uhrzeit zeit godzina saat время 时间 時刻 시간")
SUBJECT = words(
    """
    subject customer customer_id user user_id userid username author author_id requester
    requester_id sender sender_id from client client_id account account_id person person_id
    patient patient_id member member_id user_name screen_name reviewer_id reviewerid caller
    caller_id requester_email customer_email sender_email user_email email reporter login
    kunde kundennummer kunden_nr cliente cliente_id klant müşteri клиент 用户 顧客
    """
)
PERSONS = (*SUBJECT, "name", "names", "authors", "byline")  # as words inside a name
ID = words(
    """
    id uuid guid key ticket_id message_id tweet_id review_id request_id issue_id row_id
    example_id doc_id document_id text_id number ticket nr
    """
)
# Who annotated, how a file was split, how sure somebody was: no app can say that of a request.
NOT_SLICES = words(
    """
    split set fold subset partition annotator annotator_id annotation_id worker worker_id
    reviewer labeler labeller annotated_by completed_by answer status confidence score
    agreement lead_time index unnamed _view_id _input_hash _task_hash _session_id
    _annotator_id was_cancelled rating gold file filename file_name path workerid hit_id
    assignment_id assignment_status review_status is_deleted needs_review reactions
    """
)
# What a model or another annotator answered: no slice, but it may be the label.
ANSWERS = words(
    """
    prediction predictions predicted predicted_label pred gold_label label_1 label_2 label_3
    label_4 label_5 label_6 label_7 label_8 label_9
    """
)


BIRTHDAY = (
    *("birth", "geburt", "nacimiento", "naissance", "nascimento", "nascita", "urodzenia", "doğum"),
    *("рожден", "出生", "生年月日", "생년월일", "생일"),
)
BIRTHDAY_WORDS = {"dob", "bday", "born"}
DEADLINE_WORDS = {"due", "deadline", "expires", "expiry", "expiration", "expired"}


def is_birthday(name: str) -> bool:
    """Whether a date of that name is a person's, not the row's."""
    called = plain(name)
    return any(part in called for part in BIRTHDAY) or bool(
        BIRTHDAY_WORDS & set(called.replace(".", "_").split("_"))
    )


def is_deadline(name: str) -> bool:
    """Whether a date of that name is when something ends, not when the row was written."""
    return bool(DEADLINE_WORDS & set(split(name).replace(".", "_").split("_")))


def last(name: str) -> str:
    """The part after the last dot or colon, since exports nest: `data.text` is a text."""
    return plain(name).replace(":", ".").rpartition(".")[2]


def is_known(name: str) -> bool:
    """Whether it is the name of a column rather than a value. Names that could also be a value,
    such as `data` or `type`, do not tell."""
    return plain(name) in HEADER or split(name) in HEADER


def rank(name: str, names: tuple[str, ...]) -> int | None:
    """Its place among names, None where it is none of them."""
    found = next((one for one in spellings(name) if one in names), None)
    return None if found is None else names.index(found)


def spellings(name: str) -> tuple[str, ...]:
    """What a name is compared as: whole and its last part, capitals inside ignored or dividing."""
    whole = split(name)
    return plain(name), last(name), whole, last(whole)


def contains(name: str, names: tuple[str, ...]) -> bool:
    """Whether one of a name's words is one of the names.

    >>> contains("Review Content", ("content",)), contains("contents", ("content",))
    (True, False)
    """
    return any(word in names for word in split(name).replace(".", "_").split("_"))


HEADER = {*TEXT, *TITLE, *LABEL, *TIME, *SUBJECT, *ID} - {
    *("data", "type", "key", "number", "from", "request", "question", "comment", "review", "post"),
    *("source", "class", "ticket", "account", "complaint", "topic", "rating", "tag", "email"),
    *(
        "tags",
        "raw",
        "received",
        "sent",
        "opened",
        "reported",
        "published",
        "year",
        "nr",
        "phrase",
        "abstract",
    ),
    *("customer", "client", "queue", "department", "created", "message", "query", "prompt"),
}
