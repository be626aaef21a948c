"""The console's words: the English text is the key, a TOML file for each noun has the Indonesian.

`_("Orders")` marks a text in Python; templates have a `_` that puts it into the page's language. A test finds every
mark, and fails for one without its line and for a line without a mark.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

LANGUAGES: Final = {"id": "Bahasa Indonesia", "en": "English"}
DEFAULT: Final = "en"
_HERE: Final = Path(__file__).parent


def _(text: str) -> str:
    """The text itself, marked to be shown in the reader's language."""
    return text


@cache
def lines(language: str) -> dict[str, str]:
    """Every text of a language by its English. Raises ValueError where two files say it differently."""
    found: dict[str, str] = {}
    for path in sorted((_HERE / language).glob("*.toml")):
        for text, said in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if found.setdefault(text, said) != said:
                raise ValueError(f"{path.name}: {text!r} is said otherwise in another file")
    return found


def say(language: str, text: str, values: dict[str, object]) -> str:
    """A text in a language, with its values in place."""
    said = text if language == DEFAULT else lines(language).get(text, text)
    return said.format(**values) if values else said


def preferred(header: str) -> str:
    """The language of ours that an Accept-Language header likes best."""
    likes: list[tuple[float, str]] = []
    for part in header.split(",")[:20]:
        name, _sep, rest = part.strip().partition(";q=")
        try:
            likes.append((-float(rest or 1), name.split("-")[0].lower()))
        except ValueError:
            continue
    return next((name for _q, name in sorted(likes, key=lambda like: like[0]) if name in LANGUAGES), DEFAULT)
