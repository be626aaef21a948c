"""Exports: they carry who took them, nothing in them is a formula, and every change of a byte shows."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.exports import EXPORT_TYPE, Form, NotOurs, Sheet, Taken, check, neutral
from sync.journal import canonical
from sync.jws import Signer, generate_key
from tests.sync.house import NOON, OURS

RECORDS: list[dict[str, Any]] = [
    {"seq": 1, "actor": "sri", "body": {"reason": 'a, b; "c"\nd', "n": 1}},
    {"seq": 2, "actor": '=HYPERLINK("http://x")', "body": "+62 812-••••-•890"},
    {"seq": 3, "actor": None, "body": "\t=1+1"},
]


def export(form: Form, records: list[dict[str, Any]] = RECORDS, signer: Signer = OURS, who: str = "sri") -> bytes:
    sheet = Sheet(Taken("journal", who, NOON, {"kind": "rule.mode"}, form), ("seq", "actor", "body"))
    content = sheet.first() + sheet.rows(records[:2]) + sheet.rows(records[2:])
    return content + sheet.last(signer.sign(canonical(sheet.statement()).encode(), EXPORT_TYPE).decode())


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_name_first_line_and_last_carry_who_took_it_and_when(form: Form) -> None:
    taken = Taken("journal", "sri@noc", NOON, {}, form)
    assert taken.file == f"palang-journal-sri-noc-2026-11-22T12-00-00Z.{form}"
    lines = export(form).decode().splitlines()
    for line in (lines[0], lines[-1]):
        assert "sri" in line and "2026-11-22T12:00:00Z" in line
    stated = check(export(form), OURS.keyring())
    assert (stated["exporter"], stated["records"]) == ("sri", 3)


@pytest.mark.parametrize("who", ["../../etc/passwd", "a\r\nSet-Cookie: x", 'a"; filename="b', "", "ü" * 64])
def test_a_name_of_a_person_makes_no_path_and_no_header(who: str) -> None:
    name = Taken("journal", who, NOON, {}, "csv").file
    assert name.isascii() and not set('/\\"\r\n; ') & set(name) and not name.startswith(".")


def test_json_lines_are_json() -> None:
    first, *middle, last = map(json.loads, export("jsonl").decode().splitlines())
    assert middle == RECORDS
    assert first["only"] == {"kind": "rule.mode"} and first["numbers"] == "masked"
    assert last["records"] == 3


def test_no_cell_is_a_formula() -> None:
    rows = [*csv.reader(io.StringIO(export("csv").decode(), newline=""))]
    assert rows[1] == ["seq", "actor", "body"]
    assert rows[3] == ["2", '\'=HYPERLINK("http://x")', "'+62 812-••••-•890"]
    assert rows[4] == ["3", "", "'\t=1+1"]
    assert rows[0][0].startswith("# ") and rows[-1][0].startswith("# ") and len(rows) == 6


@given(st.text(max_size=20))
def test_no_text_is_a_formula(text: str) -> None:
    assert neutral(text).lstrip(" ")[:1] not in tuple("=+-@\t\r")
    assert neutral(text).removeprefix("'") == text.removeprefix("'") or neutral(text) == text


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_every_change_shows(form: Form) -> None:
    content = export(form)
    for place in range(len(content) - 1):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        if changed.rstrip(b"\r\n") == content.rstrip(b"\r\n"):
            continue
        inside_seal = place > content.rstrip().rfind(b"\n")
        try:
            check(changed, OURS.keyring())
        except NotOurs:
            continue
        assert inside_seal, f"byte {place} was changed"  # what the last line repeats beside its seal is not relied on
    lines = content.splitlines(keepends=True)
    for place in range(len(lines)):
        with pytest.raises(NotOurs):
            check(b"".join(lines[:place] + lines[place + 1 :]), OURS.keyring())


def test_a_seal_of_another_key_is_none() -> None:
    with pytest.raises(NotOurs, match="not ours"):
        check(export("csv", signer=Signer(generate_key(), "op-1")), OURS.keyring())
    with pytest.raises(NotOurs, match="no seal"):
        check(b"", OURS.keyring())
