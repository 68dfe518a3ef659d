"""Numbers as tables print them, with a unit, a spread, a change, an arrow or a footnote's mark:
what one cell holds, or why that cannot be told; what could mean two things is not guessed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Comma = Literal["decimal", "thousands", "unknown"]
MISSING = {"", "-", "–", "—", "--", "---", "n/a", "na", "none", "nan", "/"}
MAX_DIGITS = 25
"""More would not fit the arithmetic, and no table prints them."""

_PLAIN = r"(?:\d[\d.,]*|[.,]\d[\d.,]*)"
_TOKEN = rf"[+-]?{_PLAIN}(?:[eE][+-]?\d{{1,2}})?(?:\s*[×x*·]\s*10\^[+-]?\d{{1,2}})?"
_POWER = r"[+-]?10\^[+-]?\d{1,2}"
_SPREAD = rf"\s*\(?\s*(?:±|\+/-)\s*{_PLAIN}\s*%?\s*\)?"
_ARROW = "[↑↓▲▼△▽]"
_CHANGE = (
    rf"(?:\s*[(\[]\s*(?:{_ARROW}\s*[+-]?|[+-])\s*{_PLAIN}\s*%?\s*{_ARROW}?\s*[)\]]"
    rf"|\s*[(\[]\s*{_PLAIN}\s*%?\s*{_ARROW}\s*[)\]]"
    rf"|\s*{_ARROW}\s*[+-]?\s*{_PLAIN}\s*%?"
    rf"|\s*[(\[]\s*{_PLAIN}\s*×\s*[)\]]"
    rf"|\s+\+{_PLAIN}\s*%?)"
)
_VALUE = re.compile(
    rf"({_POWER}|{_TOKEN})\s*(?:dB|%|×|m?s|([kKMGT])B?)?(?:{_SPREAD})?(?:{_CHANGE})?\s*{_ARROW}?\s*[*†‡§]*"
)
THOUSANDS = {"K": 3, "M": 6, "G": 9, "T": 12}
_BETWEEN = re.compile(r"\s*[/|;]\s*|,\s+")
_BRACKETED = re.compile(r"(.*?)\s*\(([^()]*)\)\s*")
_NUMERIC = re.compile(rf"[(\[<>~≈≤≥±+\-\s{_ARROW[1:-1]}]*[.,]?\d")
_NAME = re.compile(
    r"\d+\s*[x×](?!\w)(?![\s.]*\d)(?!\s*\().*|[x×]\s*\d+|\d+\s*[xX×]\s*\d+|\d+_[A-Za-z][\w-]*|\dD[\w-]*"
)
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}")
"""A thousand and more, or three decimals."""


@dataclass(frozen=True)
class Number:
    """A number of a cell, and where it begins in the cell's text; None stands for a dash."""

    value: Decimal | None
    start: int


def is_missing(text: str) -> bool:
    return text.strip().casefold() in MISSING


def looks_numeric(text: str) -> bool:
    """Whether a cell says a number in some way, readable or not; "x4" and "3D-GS" are names."""
    text = normal(text)
    return bool(_NUMERIC.match(text)) and not _NAME.fullmatch(text)


def normal(text: str) -> str:
    """The same text, in the same places, with the usual minus sign."""
    return text.replace("−", "-")


def comma_of(texts: Iterable[str]) -> Comma:
    """What a comma means in a table, told by its numbers that can be read in one way only."""
    points = commas = False
    for text in texts:
        for token in re.findall(r"[\d.,]*\d", normal(text)):
            single = token.count(".") + token.count(",") == 1 and not _EITHER.fullmatch(token)
            points |= single and "." in token
            commas |= single and "," in token
    if points == commas:
        return "unknown"
    return "decimal" if commas else "thousands"


def numbers(text: str, comma: Comma = "unknown") -> tuple[Number, ...] | str:
    """The numbers of a cell, usually one; a string says why they cannot be told."""
    text = normal(text)
    parts = [(text.strip(), len(text) - len(text.lstrip()))]
    if not _VALUE.fullmatch(parts[0][0]):
        parts = _parts(text)
        if len(parts) < 2 or not all(_VALUE.fullmatch(p) or is_missing(p) for p, _ in parts):
            return "is not a number that can be told" if re.search(r"\d", text) else "is no number"
    found: list[Number] = []
    for part, start in parts:
        value = _value(part, comma)
        if isinstance(value, str):
            return value
        found.append(Number(value, start))
    return tuple(found)


def _value(text: str, comma: Comma) -> Decimal | str | None:
    match = _VALUE.fullmatch(text)
    value = _decimal(match[1], comma) if match else None
    if match and match[2] and isinstance(value, Decimal):
        return value.scaleb(THOUSANDS[match[2].upper()])
    return value


def _parts(text: str) -> list[tuple[str, int]]:
    """ "24.1/0.71" or "24.1 (0.71)" -> its parts and where they begin."""
    found, start = [], 0
    for match in _BETWEEN.finditer(text):
        found.append((text[start : match.start()].strip(), start))
        start = match.end()
    bracketed = _BRACKETED.fullmatch(text) if not found else None
    if bracketed:
        return [(bracketed[1].strip(), 0), (bracketed[2].strip(), bracketed.start(2))]
    return [*found, (text[start:].strip(), start)]


def _decimal(token: str, comma: Comma) -> Decimal | str:
    mantissa, _, power = token.replace(" ", "").partition("10^")
    mantissa, _, exponent = mantissa.rstrip("×x*·").replace("E", "e").partition("e")
    power = power or exponent or "0"
    plain = _plain(mantissa if mantissa not in ("", "+", "-") else f"{mantissa}1", comma)
    if isinstance(plain, Decimal):
        return plain.scaleb(int(power)) if int(power) else plain
    return plain


_FORMS = (
    (r"[+-]?(\d+\.?\d*|\.\d+)", ",", "."),
    (r"[+-]?\d*,\d+", ".", ","),
    (r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", ",", "."),
    (r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?", ".", ","),
)
"""(form, its mark of thousands, its mark of decimals), tried in this order."""


def _plain(token: str, comma: Comma) -> Decimal | str:
    if sum(char.isdigit() for char in token) > MAX_DIGITS:
        return f"has more than {MAX_DIGITS} digits"
    either = _EITHER.fullmatch(token)
    if either and (either[1] == "," or comma == "decimal") and comma != "thousands":
        if either[1] == "." or comma == "unknown":
            return "may be thousands or three decimals"
        return Decimal(token.replace(",", "."))
    if either and either[1] == ",":
        return Decimal(token.replace(",", ""))
    for form, thousands, decimal in _FORMS:
        if re.fullmatch(form, token):
            return Decimal(token.replace(thousands, "").replace(decimal, "."))
    return "is not a number that can be told"
