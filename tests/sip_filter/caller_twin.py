"""The twin of identity: whom a call names, the slow and obvious way. Where it and the core differ, one is wrong.

It shares no code with the product. Texts are split by hand, one character after the other; of numbers it knows the plan
`international` only as far as its tests go: a plus, 00 or bare digits before +77 and +62 numbers.
"""

import re
from collections.abc import Iterator

MOST = 16


class Refused(Exception):
    """The message is one that nobody may forward."""


def callers(message: str, rpid: bool) -> list[str]:
    """The numbers of an INVITE whose lines end in CRLF, each once, in order. Raises Refused."""
    fields = unfold(message)
    froms = [value for name, value in fields if name in ("from", "f")]
    if len(froms) != 1:
        raise Refused
    sender = address(froms[0])
    if sender is None:
        raise Refused
    uris: list[str] = []
    for name, value in fields:
        if name == "p-asserted-identity":
            for one in values(value):
                uris += addresses(one)
    uris.append(sender[0])
    for name, value in fields:
        if rpid and name == "remote-party-id":
            for one in values(value):
                found = address(one)
                if not (found and re.search(r"(?i);\s*party\s*=\s*called\s*(;|$)", found[1])):
                    uris += addresses(one)
    if len(uris) > MOST:
        raise Refused
    numbers = [number for uri in uris if (number := number_in(uri))]
    return list(dict.fromkeys(numbers))


def unfold(message: str) -> list[tuple[str, str]]:
    """Names in lower case, and values, of the fields of a header."""
    head = message.split("\r\n\r\n")[0]
    lines = re.sub(r"\r\n[ \t]", "  ", head).split("\r\n")[1:]
    pairs = [line.split(":", 1) for line in lines]
    return [(name.strip().lower(), value) for name, value in pairs]


def outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """Each character with its place, those in quotes left out; a place of -1 when quotes never close."""
    at, quoted = 0, False
    while at < len(text):
        if quoted and text[at] == "\\":
            at += 2
            continue
        if text[at] == '"':
            quoted = not quoted
        elif not quoted:
            yield at, text[at]
        at += 1
    if quoted:
        yield -1, ""


def values(text: str) -> list[str]:
    """A field's values, which commas separate outside quotes and brackets. What never closes is one value."""
    found, begin = [], 0
    for at, char in outside_quotes_or_brackets(text):
        if char == ",":
            found.append(text[begin:at])
            begin = at + 1
    found.append(text[begin:])
    return [value.strip() for value in found if value.strip()]


def outside_quotes_or_brackets(text: str) -> Iterator[tuple[int, str]]:
    """The same without what stands in brackets, quotes too; nothing more once one never closes."""
    at = 0
    while at < len(text):
        if text[at] == '"':
            end = at + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            if end >= len(text):
                return
            at = end
        elif text[at] == "<":
            end = text.find(">", at)
            if end < 0:
                return
            at = end
        else:
            yield at, text[at]
        at += 1


def address(value: str) -> tuple[str, str] | None:
    """URI and parameters of a value that holds one address; None when it holds none, several, or who knows."""
    value = value.strip()
    bracket = next((at for at, char in outside_quotes(value) if char == "<" and at >= 0), None)
    marks = [(at, char) for at, char in outside_quotes(value[:bracket])]
    if any(at < 0 or char == "," for at, char in marks):
        return None
    semicolon = next((at for at, char in marks if char == ";"), None)
    quoted = '"' in value[: bracket if semicolon is None else semicolon]
    if bracket is None or (semicolon is not None and not quoted):
        if quoted or bracket is not None or not value:
            return None
        uri, params = (value, "") if semicolon is None else (value[:semicolon], value[semicolon:])
        return (uri.strip(), params) if plain(params) and "<" not in params else None
    close = value.find(">", bracket)
    params = value[close + 1 :].strip()
    if close < 0 or (params and params[0] != ";") or not plain(params):
        return None
    return value[bracket + 1 : close].strip(), params


def plain(params: str) -> bool:
    """Whether all quotes close, and no comma begins another value."""
    return all(at >= 0 and char != "," for at, char in outside_quotes(params))


def addresses(value: str) -> list[str]:
    """The URI of a value, or when nobody can say which it is, all that stand in brackets."""
    found = address(value)
    return [found[0]] if found else [part.split(">")[0].strip() for part in value.split("<")[1:]]


def number_in(uri: str) -> str | None:
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() not in ("sip", "sips", "tel", "im"):
        return None
    user, at, _ = rest.partition("@")
    if not at and scheme.lower() != "tel":
        user = re.split("[;?:>]", rest)[0]
        if not (user.startswith("+") or user.isdigit()):
            return None
    if at or scheme.lower() != "tel":
        user = user.partition(":")[0]
    user, *params = user.split(";")
    if re.search("%(?![0-9A-Fa-f]{2})", user):
        return None
    user = re.sub("%(..)", lambda found: chr(int(found[1], 16)), user)
    digits = re.sub(r"[-.() ]", "", user)
    context = next((p.partition("=")[2] for p in params if p.lower().startswith("phone-context=")), "")
    assert not context.startswith("+"), "the twin knows no phone-context"
    found = re.fullmatch(r"(?:\+|00)?((?:77\d{9})|(?:628\d{8,11}))", digits, re.ASCII)
    return f"+{found[1]}" if found else None
