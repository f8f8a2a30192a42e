"""What columns are called, in the languages that files come in. Earlier names are preferred."""

from __future__ import annotations

import unicodedata


def plain(name: str) -> str:
    """A name as it is compared: `Created At` is `created_at`."""
    folded = unicodedata.normalize("NFKC", name).casefold().strip().strip('"')
    return "_".join(folded.replace("-", " ").replace("_", " ").split())


def words(text: str) -> tuple[str, ...]:
    return tuple(plain(word) for word in text.split())


TEXT = words(
    """
    text message query utterance sentence content body comment review tweet post prompt question
    document email_text sms request input description complaint transcript abstract selftext
    review_text review_body reviewtext comment_text message_text text_content textcontent data
    source raw_text full_text consumer_complaint_narrative phrase
    texto texte testo nachricht mensaje messaggio mensagem tekst texto_completo komentarz
    comentario
    commentaire commento kommentar frage anfrage beschreibung descripcion descrição descricao
    metin mesaj yorum текст сообщение описание 文本 内容 正文 テキスト 本文 텍스트 내용 نص टेक्स्ट
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
    classname class_name issue_type issuetype displayname polarity rating stars score type
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
    date_heure data_criacao fecha_hora tarih дата время 日期 时间 日付 日時 날짜 تاريخ
    """
)
# A time of day, beside a date.
CLOCK = words("time hour hora heure ora uhrzeit zeit godzina saat время 时间 時刻 시간")
SUBJECT = words(
    """
    subject customer customer_id user user_id userid username author author_id requester
    requester_id sender sender_id from client client_id account account_id person person_id
    patient patient_id member member_id user_name screen_name reviewer_id reviewerid caller
    requester_email customer_email sender_email user_email email reporter login
    kunde kundennummer kunden_nr cliente cliente_id klant müşteri клиент 用户 顧客
    """
)
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
    _annotator_id was_cancelled rating gold file filename file_name path
    """
)


BIRTHDAY = (
    *("birth", "geburt", "nacimiento", "naissance", "nascimento", "nascita", "urodzenia", "doğum"),
    *("рожден", "出生", "生年月日", "생년월일", "생일"),
)
BIRTHDAY_WORDS = {"dob", "bday", "born"}


def is_birthday(name: str) -> bool:
    """Whether a date of that name is a person's, not the row's."""
    called = plain(name)
    return any(part in called for part in BIRTHDAY) or bool(
        BIRTHDAY_WORDS & set(called.replace(".", "_").split("_"))
    )


def last(name: str) -> str:
    """The part after the last dot, since exports nest: `data.text` is a text."""
    return plain(name).rpartition(".")[2]


def is_known(name: str) -> bool:
    """Whether it is the name of a column rather than a value. Names that could also be a value,
    such as `data` or `type`, do not tell."""
    return plain(name) in HEADER


def rank(name: str, names: tuple[str, ...]) -> int | None:
    """Its place among names, None where it is none of them."""
    for candidate in (plain(name), last(name)):
        if candidate in names:
            return names.index(candidate)
    return None


HEADER = {*TEXT, *TITLE, *LABEL, *TIME, *SUBJECT, *ID} - {
    *("data", "type", "key", "number", "from", "request", "question", "comment", "review", "post"),
    *("source", "class", "ticket", "account", "complaint", "topic", "rating", "tag", "email"),
    *("received", "sent", "opened", "reported", "published", "year", "nr", "phrase", "abstract"),
    *("customer", "client", "queue", "department", "created", "message", "query", "prompt"),
}
