"""Dial plans of an operator's own, in TOML: the built-in national plan written so reads every case equally."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.settings import Settings
from config import ConfigError, load
from sip_filter._core import read_message, read_number
from tests.sip_filter.peers import Bench, Message, status
from tests.sip_filter.test_plan import CASES, NATIONAL

TOML = """
[[gateway.plans]]
name = "rewritten"
effective = 2004-03-11
source = "KM 28/2004"
international_prefixes = ["001", "007", "008", "009", "00", "010XX"]
country_code = "62"
trunk_prefixes = ["0"]
carrier_prefixes = ["01X"]
bare_prefixes = ["8"]
first_digits = "23456789"

[[gateway.trunks]]
name = "domestic"
sources = ["192.0.2.0/24"]
plan = "rewritten"
"""


def settings(folder: Path, text: str) -> Settings:
    path = folder / "palang.toml"
    path.write_text(text)
    return load(Settings, path, environ={})


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> str:
    return settings(tmp_path_factory.mktemp("toml"), TOML).gateway.plans_json


@pytest.mark.parametrize("text", [text for text, _, _ in CASES])
def test_the_national_plan_in_toml_reads_every_case_equally(plans: str, text: str) -> None:
    mine, built_in = read_number(text, "rewritten", plans), read_number(text, NATIONAL)
    assert mine["number"] == built_in["number"]
    assert [step.replace("rewritten", NATIONAL) for step in mine["steps"]] == built_in["steps"]


@given(st.text("0123456789+-18620", max_size=20))
def test_it_reads_whatever_digits_equally(text: str) -> None:
    rows = (
        '[{"name":"rewritten","effective":"2004-03-11","country_code":"62","trunk_prefixes":["0"],'
        '"international_prefixes":["001","007","008","009","00","010XX"],"carrier_prefixes":["01X"],'
        '"bare_prefixes":["8"],"first_digits":"23456789"}]'
    )
    assert read_number(text, "rewritten", rows)["number"] == read_number(text, NATIONAL)["number"]


def test_a_plan_without_a_country_reads_no_national_form(tmp_path: Path) -> None:
    text = '[[gateway.plans]]\nname = "abroad"\neffective = 2026-01-01\ncountry_code = ""\n'
    rows = settings(tmp_path, text).gateway.plans_json
    assert read_number("0077012345678", "abroad", rows)["number"] == "+77012345678"
    assert read_number("081234567890", "abroad", rows)["number"] is None


def test_a_message_is_read_by_it(plans: str) -> None:
    raw = (
        b"INVITE sip:1@x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:081234567890@x>;tag=1\r\n"
        b"To: <sip:1@x>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    assert read_message(raw, "rewritten", False, plans=plans)["identities"] == [("+6281234567890", False)]


def test_a_gateway_judges_and_proves_by_it(plans: str, tmp_path: Path) -> None:
    trunk = Bench.trunk_row("domestic", "127.0.0.2/32", plan="rewritten")
    line = "+6281234567890\torder reject enforce both"
    bench = Bench(tmp_path, [line], plans=json.loads(plans), trunks=[trunk])
    try:
        call = Message(bench.trunk, caller="<sip:081234567890@a.example>")
        assert [status(reply) for reply in bench.send(bench.trunk, call.bytes())[bench.trunk]] == [603]
        assert bench.gateway.synthetic("domestic", ["+6281234567890", "+6281234567891", "+77012345678"]) == [
            ("+6281234567890", 603),
            ("+6281234567891", 0),
            ("+77012345678", 0),
        ]
        with pytest.raises(ValueError, match=r'trunks\[0\].plan: "rewritten" is not a dial plan'):
            bench.configure(plans=[])
    finally:
        bench.close()


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ('plan = "rewritten"', 'plan = "mars"', "plan 'mars' is none of international, id-national, rewritten"),
        ('name = "rewritten"', 'name = "international"', "'international' is built in"),
        ('"010XX"', '"010XXX"', "code '010XXX' must be 1 to 5 digits"),
        ('["0"]', '["0X"]', "code '0X' must be digits alone"),
        ('["8"]', '["８"]', "code '８' must be 1 to 5 digits"),
        ('country_code = "62"', "", "mean nothing without country_code"),
        ('country_code = "62"', 'country_code = "062"', "country_code"),
        ("effective = 2004-03-11", "", "effective"),
        ("bare_prefixes", "bare_prefix", "nearest known key is bare_prefixes"),
    ],
)
def test_a_plan_that_can_not_be(tmp_path: Path, was: str, becomes: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, TOML.replace(was, becomes))
    assert says in str(caught.value)


def test_the_core_refuses_what_settings_would() -> None:
    with pytest.raises(ValueError, match=r'plans\[0\].name: "International" is not a plan name'):
        read_number("1", "x", '[{"name": "International", "effective": "2026-01-01"}]')
    with pytest.raises(ValueError, match=r"plans\[0\].effective: missing"):
        read_number("1", "x", '[{"name": "x"}]')
    with pytest.raises(ValueError, match="plans are not JSON"):
        read_number("1", "x", "[")
