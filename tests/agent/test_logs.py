"""Logs: one event is one line, and no subscriber's number is in it."""

import json
import subprocess
import sys

import pytest

CANARY = "6281234567890"


def _log(code: str) -> list[dict[str, object]]:
    script = f"from agent import logs\nimport structlog, logging\nlogs.configure()\n{code}"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize(
    "code",
    [
        f"structlog.get_logger().info('call', caller='+{CANARY}')",
        f"structlog.get_logger().info('refused +{CANARY} at once')",
        f"logging.getLogger('library').error('no user %s', '{CANARY}')",
        f"structlog.get_logger().error('bad', error='sip:{CANARY}@host')",
        f"structlog.get_logger().info('nested', about={{'n': ['+{CANARY}']}})",
        f"structlog.get_logger().info('a number as an int', n={CANARY})",
    ],
)
def test_a_number_never_reaches_a_log(code: str) -> None:
    (event,) = _log(code)
    assert CANARY not in json.dumps(event)


def test_one_event_is_one_line_whatever_it_holds() -> None:
    (event,) = _log(r"structlog.get_logger().info('x', text='a\r\nforged\x1b[31m\u202e')")
    assert event["text"] == "a\r\nforged\x1b[31m\u202e"
    assert event["level"] == "info"


def test_an_exception_is_one_line_too() -> None:
    (event,) = _log(
        f"try:\n    raise ValueError('no +{CANARY}')\n"
        "except ValueError:\n    structlog.get_logger().exception('failed')"
    )
    assert "ValueError" in str(event["exception"])
    assert CANARY not in json.dumps(event)
