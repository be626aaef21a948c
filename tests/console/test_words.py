"""Every text has its Indonesian, and every line of the Indonesian is said somewhere."""

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

import agent.console
from agent.console.words import DEFAULT, LANGUAGES, lines, preferred, say
from sync.codes import CATALOGUE

HERE = Path(agent.console.__file__).parent
IN_TEMPLATES = re.compile(r"""\b_\(\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")


def marked() -> dict[str, str]:
    """Each marked text and a file that has it."""
    found: dict[str, str] = {}
    for path in HERE.glob("templates/**/*"):
        if path.is_file():
            for one, other in IN_TEMPLATES.findall(path.read_text()):
                found[one or other] = path.name
    found |= {entry.sentence: "sync/codes.py" for entry in CATALOGUE.values()}
    for path in HERE.glob("**/*.py"):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                text = ast.literal_eval(node.args[0])
                assert isinstance(text, str), path
                found[text] = path.name
    return found


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", sorted(LANGUAGES.keys() - {DEFAULT}))
def test_each_text_is_said_in_each_language_with_the_same_values(language: str) -> None:
    texts, said = marked(), lines(language)
    assert len(texts) > 50
    assert {text: where for text, where in texts.items() if text not in said} == {}, "without a line"
    assert set(said) - set(texts) == set(), "lines that nothing says"
    assert [text for text in texts if fields(text) != fields(said[text])] == []
    assert all(line.strip() for line in said.values())


def test_the_language_is_the_one_that_the_browser_likes_best() -> None:
    for header, expected in (
        ("id-ID,id;q=0.9,en;q=0.8", "id"),
        ("en-GB,id;q=0.5", "en"),
        ("fr, id;q=0.3, en;q=0.7", "en"),
        ("fr, id;q=0.7", "id"),
        ("", DEFAULT),
        ("id;q=much,en", "en"),
        ("zz", DEFAULT),
    ):
        assert preferred(header) == expected, header


def test_values_stand_in_both_languages() -> None:
    assert say("en", "{n} min", {"n": 7}) == "7 min"
    assert say("id", "{n} min", {"n": 7}) == "7 mnt"
