"""Jinja2 as the pages use it: everything escaped, an unknown name is an error, times and texts in one manner."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from agent.console.labels import LABELS
from agent.console.static_files import Static
from agent.console.words import LANGUAGES, _, say
from sync.codes import CATALOGUE, Code

_HERE: Final = Path(__file__).parent / "templates"
UNITS: Final = ((86_400, _("{n} d")), (3_600, _("{n} h")), (60, _("{n} min")), (1, _("{n} s")))
"""Seconds of each unit, and how a span is written in it; the pages' script reads the same."""


def templates(static: Static) -> jinja2.Environment:
    """The templates, ready to render."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        static=static.path, languages=LANGUAGES, units=UNITS, _=_say, when=_when, due=_due, age=_age, clock=_clock
    )
    made.filters.update(label=_label, num=_num, short=_short, code=_code)
    return made


@jinja2.pass_context
def _say(context: jinja2.runtime.Context, text: str, **values: object) -> str:
    return say(context["language"], text, values)


@jinja2.pass_context
def _label(context: jinja2.runtime.Context, word: object) -> str:
    """A word of the API (a state, a mode, a kind) as people read it; one that has no label stays as it is."""
    return say(context["language"], LABELS.get(str(word), str(word)), {})


@jinja2.pass_context
def _code(context: jinja2.runtime.Context, code: str) -> str:
    """A code of the catalogue as its sentence."""
    return say(context["language"], CATALOGUE[Code(code)].sentence, {})


@jinja2.pass_context
def _when(context: jinja2.runtime.Context, moment: str | None) -> Markup:
    """A moment, to the minute; whole in its title."""
    if moment is None:
        return Markup("–")
    at = parse(moment).astimezone()
    exact = f"{at:%Y-%m-%d %H:%M:%S %Z}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment, exact, f"{at:%Y-%m-%d %H:%M}")


@jinja2.pass_context
def _due(context: jinja2.runtime.Context, moment: str | None) -> Markup:
    """How long until then, counting down where there is JavaScript; past it says how long ago."""
    if moment is None:
        return Markup("–")
    left = int((parse(moment) - context["now"]).total_seconds())
    tone = "over" if left < 0 else "soon" if left < 3_600 else "far"
    return _counted("until", tone, moment, ("−" if left < 0 else "") + span(context["language"], abs(left)))


@jinja2.pass_context
def _age(context: jinja2.runtime.Context, moment: str | None, of: str = "", limit: int = 0) -> Markup:
    """How long ago, counting up where there is JavaScript.

    `of` names the part of the wall whose figures are so old; over `limit` seconds that is said loudly.
    """
    if moment is None:
        return Markup("–")
    passed = max(0, int((context["now"] - parse(moment)).total_seconds()))
    tone = "over" if limit and passed > limit else "past"
    more = Markup(' data-age="{}" data-limit="{}"').format(of, limit) if of else ""
    return _counted("since", tone, moment, span(context["language"], passed), more)


@jinja2.pass_context
def _num(context: jinja2.runtime.Context, value: float, digits: int = 0) -> str:
    """A figure with the language's marks: 1,234.5 or 1.234,5."""
    text = f"{value:,.{digits}f}"
    return text.translate(str.maketrans(",.", ".,")) if context["language"] == "id" else text


def _short(name: str) -> str:
    """The end of a long id; a short one whole."""
    return name if len(name) <= 12 else f"…{name[-6:]}"


def _clock(seconds: float) -> str:
    """The minute of the day."""
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%H:%M}"


def _counted(which: str, tone: str, moment: str, text: str, more: str = "") -> Markup:
    exact = f"{parse(moment).astimezone():%Y-%m-%d %H:%M:%S %Z}"
    return Markup('<time class="{}" data-{}="{}" datetime="{}" title="{}"{}>{}</time>').format(
        tone, which, moment, moment, exact, more, text
    )


def span(language: str, seconds: int) -> str:
    """A span in its two largest units: 3 h 12 min."""
    for place, (length, _text) in enumerate(UNITS):
        if seconds >= length:
            parts = [say(language, UNITS[place][1], {"n": seconds // length})]
            if place + 1 < len(UNITS):
                smaller, text = UNITS[place + 1]
                parts.append(say(language, text, {"n": seconds % length // smaller}))
            return " ".join(parts)
    return say(language, UNITS[-1][1], {"n": 0})


def parse(moment: str | datetime) -> datetime:
    """A moment of the API as a datetime."""
    return moment if isinstance(moment, datetime) else datetime.fromisoformat(moment).astimezone(UTC)
