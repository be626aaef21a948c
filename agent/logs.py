"""Logs: one event is one line of JSON on stderr, whatever a message held.

Subscribers' numbers have no place here: code logs ids, counts and codes. As a last guard, digits in a row that could be
a number are blotted out before a line is written.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_NUMBER = re.compile(r"\+?\d{9,15}(?!\d)")
_COUNT_DIGITS = 8
_COUNTED = frozenset({"timestamp", "at_ms", "pid", "bytes", "digest", "sha256", "order", "node", "revision"})


def configure(level: int = logging.INFO) -> None:
    """Have structlog, and what libraries log, written as JSON lines."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            blot,
            structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)


def blot(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blot out whatever could be a telephone number, however deep it lies."""
    for name, value in event.items():
        if name not in _COUNTED:
            event[name] = _blotted(value)
    return event


def _blotted(value: Any) -> Any:
    if isinstance(value, str):
        return _NUMBER.sub("•••", value)
    if isinstance(value, int) and len(str(value)) > _COUNT_DIGITS:
        return "•••"
    if isinstance(value, dict):
        return {name: item if name in _COUNTED else _blotted(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_blotted(item) for item in value]
    return value


class _Bridge(logging.Handler):
    """What libraries log through the standard library, as events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)
