"""The filter: which calls and messages are stopped, decided in microseconds from a list that survives everything else.

Start with `Number`, `Prefix` and `parse_subject` (what a rule is about), `Clause` and `Stack` (what rules on one
subject come to), `Writer` (the node's one writer of the list), `List` (the decision, for any process) and `Hook` (who
calls and the decision, for another switch's process).
Importing this package loads only the standard library and `_core`, whose manual is `_core.pyi`.
"""

from sip_filter._core import (
    DigestError,
    GapError,
    Judgement,
    List,
    Writer,
    entry_digest,
    judge,
    list_digest,
    read_message,
    read_number,
    trunk_key,
)
from sip_filter.hook import Decision, Hook
from sip_filter.number import Number, Prefix, Subject, parse_subject
from sip_filter.rule import Action, Authority, Clause, Kinds, Mode, Stack, entry_line

__all__ = [
    "Action",
    "Authority",
    "Clause",
    "Decision",
    "DigestError",
    "GapError",
    "Hook",
    "Judgement",
    "Kinds",
    "List",
    "Mode",
    "Number",
    "Prefix",
    "Stack",
    "Subject",
    "Writer",
    "entry_digest",
    "entry_line",
    "judge",
    "list_digest",
    "parse_subject",
    "read_message",
    "read_number",
    "trunk_key",
]
