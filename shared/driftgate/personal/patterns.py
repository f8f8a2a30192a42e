"""What personal data looks like. Regular expressions only; check digits are elsewhere.

Each kind has a pattern for Python's `re`, which decides, and one for RE2, which matches at least
every text that the first can match in. Both engines must read the parts that they share alike, so
those spell their characters out: no `\\s` and `\\w`, no case ignored beyond ASCII.

From one start no pattern looks further than a fixed distance, or it can start only once in a run
of characters: time stays in proportion to the length of a text.
"""

from __future__ import annotations

import re

# What stands for findings while a text is worked on: a block of characters for each kind, in the
# order in which they are looked for. Lone surrogates: no text that is valid UTF-8 holds them.
BLOCK = 256
BLOCKS = {
    kind: range(0xD800 + at * BLOCK, 0xD800 + (at + 1) * BLOCK)
    for at, kind in enumerate(("key", "email", "name", "iban", "card", "ip", "phone"))
}


def any_of(*blocks: range) -> str:
    """The characters of blocks that follow each other, for a class of a regular expression."""
    return f"{chr(blocks[0].start)}-{chr(blocks[-1].stop - 1)}"


M = any_of(*BLOCKS.values())
BEGINS = rf"(?<![0-9A-Za-z{M}])"
ENDS = rf"(?![0-9A-Za-z{M}])"
SPACE = " \u00a0\u202f"  # also those that do not break a line
DASH = "\u2010\u2011\u2013\\-"

# ---------------------------------------------------------------- email

EMAIL = re.compile(
    rf"(?<![\w%+{M}-])[\w%+-][\w.%+'-]{{0,63}}+@(?:[\w-]{{1,63}}\.){{1,9}}[^\W\d_]{{2,63}}"
)

# ---------------------------------------------------------------- key

PEM = r"-----BEGIN (?:[A-Z]{2,10} ){0,3}PRIVATE KEY-----"
PEM_BODY = rf"(?:[^-{M}]*-----END [A-Z ]{{1,40}}-----|(?:[ \r\n]{{0,4}}[A-Za-z0-9+/=]{{16,}})*)"
TOKEN = "|".join(
    (
        r"(?:AKIA|ASIA)[A-Z0-9]{16}",
        r"sk-[A-Za-z0-9_-]{20,}",
        r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
        r"gh[oprsu]_[A-Za-z0-9]{30,}",
        r"github_pat_[A-Za-z0-9_]{22,}",
        r"glpat-[A-Za-z0-9_-]{20,}",
        r"xox[abeprs]-[A-Za-z0-9-]{10,}",
        r"AIza[A-Za-z0-9_-]{35}",
        r"hf_[A-Za-z0-9]{30,}",
        r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    )
)
IS = r"(?i:is|are|ist|lautet|es|est|è|é|to)"
SAYS = rf"(?:[ ]{IS}:?[ ]|[\"']?[ ]?[:=][ ]?)[\"'`]?"
PASSWORD = (
    r"(?i:pass(?:word|wort|phrase|wd)|pwd|kennwort|contrase[nñÑ]a|clave|mot de passe|senha"
    rf"|has[lłŁ]o){SAYS}"
)
SECRET = rf"(?i:(?:key|token|secret|schlüssel|clé|klucz|chave|chiave){SAYS}|bearer )"
CHOSEN = rf"[^ \t\r\n\"'`<>,;{M}]"  # what a person may choose for a password
RANDOM = r"[A-Za-z0-9+/_.~-]"
KEY = re.compile(
    rf"{PEM}{PEM_BODY}"
    rf"|(?<![0-9A-Za-z_{M}-])(?:{TOKEN}){ENDS}"
    rf"|(?<![A-Za-z])(?P<before>{PASSWORD}(?={CHOSEN}{{0,63}}[0-9])(?={CHOSEN}{{6}})"
    rf"|{SECRET}(?={RANDOM}{{0,63}}[0-9])(?={RANDOM}{{0,63}}[A-Za-z])(?={RANDOM}{{16}}))"
    rf"{CHOSEN}{{1,512}}(?<![.!?:)])",
    re.ASCII,
)

# ---------------------------------------------------------------- numbers with a check

CARD = re.compile(rf"(?=[2-6]){BEGINS}[0-9]{{4}}(?:[{SPACE}{DASH}]?[0-9]){{9,15}}{ENDS}")
IBAN = re.compile(rf"{BEGINS}[A-Za-z]{{2}}[0-9]{{2}}(?:[{SPACE}{DASH}]?[0-9A-Za-z]){{11,30}}{ENDS}")

IPV4 = re.compile(
    rf"(?=[0-9])(?<![0-9A-Za-z.{M}])[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}(?!\.?[0-9{M}]){ENDS}"
)
IPV6 = re.compile(
    rf"(?=[0-9A-Fa-f:])(?<![0-9A-Za-z:{M}])(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}"
    rf"(?:[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}|[0-9A-Fa-f]{{0,4}}){ENDS}"
)
# Four numbers after one of these words are a version or a place in a document.
VERSION = re.compile(
    r"(?:versi[oó]n|vers[aã]o|versione|wersja|release|build|firmware|section|clause|abschnitt"
    r"|kapitel|secci[oó]n|sezione|se[cç][aã]o|rozdzia[lł])[ ]?[:=]?[ ]?\Z",
    re.IGNORECASE,
)

# ---------------------------------------------------------------- phone

GAP = rf"[{SPACE}{DASH}./()]"
SEVEN = rf"[0-9](?:{GAP}{{0,3}}[0-9]){{6}}"
S = rf"[{SPACE}{DASH}.]"
# Phone numbers are found last: where a border looks further, only their own mark can come new.
PHONE_MARK = any_of(BLOCKS["phone"])
APART = rf"[{SPACE}{DASH}]"
DATE = r"[0-3][0-9](?P<d>[./-])[01][0-9](?P=d)(?:(?:19|20)[0-9]{2}|[0-9]{2})(?!(?P=d)?[0-9])"
# Groups of three: not an amount, and not the begin of something longer.
ALONE = rf"(?![{SPACE}]?(?:[€$£%]|EUR|USD|GBP|R\$|zł|PLN)|{APART}[0-9{PHONE_MARK}])"
FORMS = "|".join(
    (
        rf"(?:\+|00){S}?[1-9](?:{GAP}{{0,3}}[0-9]){{8,14}}",  # international
        # Britain, France, Germany, Italy: 0 and then 8 to 11 digits in groups of any size.
        rf"(?!{DATE})(?:\(0{S}?|0)[1-9](?:{GAP}{{0,2}}[0-9]){{7,10}}",
        rf"0[1-9][0-9]{{1,2}}[{SPACE}/][0-9]{{5}}",  # Germany, short
        # The others by their groups: without them the digits could number anything.
        rf"(?:1{S})?(?:\([2-9][0-9]{{2}}\){S}?|[2-9][0-9]{{2}}{S})[0-9]{{3}}{S}[0-9]{{4}}",  # US
        rf"3[0-9]{{2}}[{SPACE}{DASH}./][0-9]{{6,7}}",  # Italy
        rf"[4-9][0-9]{{2}}(?P<a>{APART})[0-9]{{3}}(?P=a)[0-9]{{3}}{ALONE}",  # Poland, Spain
        rf"[89][0-9]{{2}}(?P<b>{S})[0-9]{{2}}(?P=b)[0-9]{{2}}(?P=b)[0-9]{{2}}",  # Spain
        rf"(?:\([1-9][0-9]\)|[1-9][0-9]){APART}[0-9]{{3}}{APART}[0-9]{{2}}{APART}[0-9]{{2}}",
        rf"(?:\([1-9][0-9]\){S}?|[1-9][0-9]{S})9[0-9]{{4}}{S}?[0-9]{{4}}",  # Brazil
        rf"\([1-9][0-9]\){S}?[2-5][0-9]{{3}}{S}?[0-9]{{4}}",  # Brazil
    )
)
PHONE = re.compile(
    rf"(?=[+(0-9]){BEGINS}(?<![0-9{PHONE_MARK}][.-])(?<![€$£])(?<![€$£] )(?:{FORMS}){ENDS}"
)
BARE = re.compile(rf"(?=[(0-9]){BEGINS}\(?[0-9](?:{GAP}{{0,2}}[0-9]){{6,14}}{ENDS}")

NUMBER = r"(?:[ -]?(?:number|num|numer|nummer|n[uú]mero|num[ée]ro|nr|no|n[°º]?|id|code|\#))"
# What may stand before digits that are no phone number, and before some that can only be one.
THING = re.compile(
    rf"""(?<![a-z])(?:
        (?:order|invoice|ticket|case|ref(?:erence)?|tracking|parcel|booking|serial|article|item|sku
        |part|receipt|transaction
        |bestell|bestellung|auftrag|auftrags|rechnung|rechnungs|sendung|sendungs|serien|artikel
        |vorgang|vorgangs|buchung|buchungs
        |commande|facture|colis|dossier|r[ée]f[ée]rence
        |pedido|factura|env[íi]o|albar[áa]n|referencia|ordine|fattura|spedizione|pratica
        |fatura|protocolo|rastreio|zam[óo]wienie|zam[óo]wienia|faktura|faktury|przesy[łl]ka
        )(?:[ ](?:de|di|do|du|da))?{NUMBER}?
        |(?:customer|client|account|contract|kunden|konto|vertrags|cliente|client|klienta){NUMBER}
        )\.?[ ]?[:=\#]?[ ]?\Z
        |(?<![0-9a-z])[a-z]{{2}}[0-9]{{2}}(?:[ ][0-9a-z]{{4}}){{0,6}}[ ]\Z  # a wrong IBAN""",
    re.VERBOSE | re.IGNORECASE,
)
CALL = re.compile(
    rf"""(?<![a-z])(?:
        (?:tele)?phone|tel|mobile|cell(?:phone)?|call|ring|text|whatsapp|fax
        |telefon|handy|mobil|ruf|anruf(?:en)?
        |t[ée]l[ée]phone|portable|appele[zr]|tel[ée]fono|m[óo]vil|ll[áa]m(?:e|a)(?:me|nme)?
        |cellulare|chiamat?emi|telefone|celular|ligu?em?|telefonu|kom[óo]rk[aię]|zadzwo[ńn]
        |my|mein[e]?|mon|mi|il[ ]mio|meu|m[óo]j(?=[ ]n)
        )(?:me|us|mich)?{NUMBER}?\.?
        (?:[ ](?:me|us|mich|back|is|ist|est|es|[èeé]|to|at|on|under|unter|au|al|a[ol]?|en|em|no|para
        |pod|it|number|numer|n[úu]mero|num[ée]ro|nummer)){{0,3}}
        [ ]?[:=]?[ ]?\Z""",
    re.VERBOSE | re.IGNORECASE,
)

# ---------------------------------------------------------------- RE2

PREFILTERS = {
    "key": rf"{PEM}|{TOKEN}|{PASSWORD}[^ \t\r\n]{{6}}|{SECRET}[0-9A-Za-z+/_.~-]{{16}}",
    "email": "@",
    "iban": rf"[A-Za-z]{{2}}[0-9]{{2}}(?:[{SPACE}{DASH}]?[0-9A-Za-z]){{11}}",
    "card": SEVEN,
    "ip": r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:",
    "phone": SEVEN,
}


def whole_words(alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w{M}])(?:{alternatives})(?![\w{M}])")
