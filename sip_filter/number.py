"""Numbers and prefixes: what a rule can be about. A value of these types is valid.

A `Number` is E.164 (7 to 15 digits, the first never 0), a `Prefix` its first 2 to 14 digits. Their canonical texts,
`+6281234567890` and `+77*`, are the same in Rust (`core/src/number.rs`), in Redis and in the ledger, and give their
order: a prefix comes before the numbers that begin with it.
"""

import re
from functools import total_ordering
from typing import Any, ClassVar, Final, Self

NUMBER_DIGITS: Final = (7, 15)  # ITU-T E.164 §6.1: at most 15
PREFIX_DIGITS: Final = (2, 14)


@total_ordering
class _Digits:
    """What Number and Prefix share: valid digits, a canonical text, and the order of texts."""

    __slots__ = ("digits",)

    _what: ClassVar[str]
    _count: ClassVar[tuple[int, int]]
    _end: ClassVar[str]

    digits: str

    def __init__(self, digits: str) -> None:
        _check(digits, self._what, self._count)
        object.__setattr__(self, "digits", digits)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a canonical text; ValueError names the value and the limit."""
        if not text.startswith("+"):
            raise ValueError(f'subject "{_shown(text)}" does not begin with +')
        if not text.endswith(cls._end):
            raise ValueError(f'{cls._what} "{_shown(text)}" does not end with {cls._end}')
        return cls(text[1 : len(text) - len(cls._end)])

    def __str__(self) -> str:
        return f"+{self.digits}{self._end}"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and str(other) == str(self)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Digits):
            return NotImplemented
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.digits,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # pydantic is its user's, not ours

        fewest, most = cls._count
        text = core_schema.str_schema(pattern=rf"^\+[1-9][0-9]{{{fewest - 1},{most - 1}}}{re.escape(cls._end)}$")
        parsed = core_schema.no_info_after_validator_function(cls.parse, text)
        return core_schema.json_or_python_schema(
            json_schema=parsed,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), parsed]),
            serialization=core_schema.to_string_ser_schema(),
        )


class Number(_Digits):
    """One E.164 number, by its digits without `+`."""

    __slots__ = ()
    _what = "number"
    _count = NUMBER_DIGITS
    _end = ""

    def masked(self) -> str:
        """The number as a person may see it: at least 5 digits hidden, always behind the same count of dots.

        `+62 812-••••-•890`, foreign `+77•••••••78`. Too short for that, only the country code is shown.
        """
        if self.digits.startswith("62"):
            last = max(0, min(3, len(self.digits) - 2 - 3 - _LEAST_HIDDEN))
            if len(self.digits) < 2 + 3 + _LEAST_HIDDEN:
                return "+62 •••-••••-•"
            return f"+62 {self.digits[2:5]}-••••-•{self.digits[len(self.digits) - last :]}"
        if len(self.digits) < 2 + 2 + _LEAST_HIDDEN:
            return f"+{_country_code(self.digits)}{_FOREIGN_DOTS}"
        return f"+{self.digits[:2]}{_FOREIGN_DOTS}{self.digits[-2:]}"

    def prefix(self, length: int) -> "Prefix":
        """Its first `length` digits; ValueError when there are not so many, or that is no prefix."""
        if length > len(self.digits):
            raise ValueError(f"{self!r} has {len(self.digits)} digits, not {length}")
        return Prefix(self.digits[:length])

    def __repr__(self) -> str:
        return f"Number({self.masked()})"  # a repr ends up in logs


class Prefix(_Digits):
    """The leading digits that a family of numbers shares, without `+` and `*`."""

    __slots__ = ()
    _what = "prefix"
    _count = PREFIX_DIGITS
    _end = "*"

    def covers(self, subject: "Subject") -> bool:
        """Whether every number of `subject` begins with it."""
        return subject.digits.startswith(self.digits)

    def __repr__(self) -> str:
        return f"Prefix({self})"


Subject = Number | Prefix


def parse_subject(text: str) -> Subject:
    """Read what a person wrote: an optional `+`, digits, and `*` after a prefix.

    Without `*`, 2 to 6 digits are a prefix and 7 to 15 a number. ValueError names the value and the limit.
    """
    digits = text.strip().removeprefix("+")
    if digits.endswith("*"):
        return Prefix(digits[:-1])
    if _is_digits(digits) and PREFIX_DIGITS[0] <= len(digits) < NUMBER_DIGITS[0]:
        return Prefix(digits)
    return Number(digits)


def read_subject(text: str) -> Subject:
    """Read a canonical text, and no other; ValueError names the value and the limit."""
    return Prefix.parse(text) if text.endswith("*") else Number.parse(text)


_LEAST_HIDDEN = 5
_FOREIGN_DOTS = "•••••••"
# ITU-T E.164.D; zones 1 and 7 have one digit, all that are not named here three.
_TWO_DIGIT_CODES = (
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 "
    "90 91 92 93 94 95 98"
)


def _country_code(digits: str) -> str:
    if digits[0] in "17":
        return digits[0]
    return digits[:2] if digits[:2] in _TWO_DIGIT_CODES else digits[:3]


def _check(digits: str, what: str, count: tuple[int, int]) -> None:
    fewest, most = count
    shown, has = _shown(digits), len(digits)
    if not _is_digits(digits) and has > 0:
        raise ValueError(f'"{shown}" is not made of the digits 0 to 9 alone')
    if has < fewest:
        raise ValueError(f'{what} "{shown}" has {has} digits; the fewest allowed are {fewest} (of at most {most})')
    if has > most:
        raise ValueError(f'{what} "{shown}" has {has} digits; the most allowed are {most} (of at least {fewest})')
    if digits[0] == "0":
        raise ValueError(f'"{shown}" begins with 0; E.164 never does')


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _shown(text: str) -> str:
    return text[:24].encode("unicode_escape").decode("ascii")
