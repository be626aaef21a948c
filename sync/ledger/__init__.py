"""The ledger: orders, rules, the list, confirmations, receipts and the journal, true together or not at all.

Begin with `Ledger` (ledger.py, its methods in parts/); what it returns stands in views.py, the rule of the highest
serial in subjects.py, the journal's arithmetic in sync/journal.py. `LedgerUnavailable` means: acknowledge nothing, ask
again later.
"""

from sync.ledger.alarms import AlarmRecord
from sync.ledger.audit import Filter, newest, onward, verify_file
from sync.ledger.audit import kinds as journal_kinds
from sync.ledger.ledger import Ledger
from sync.ledger.people import PersonView, Secrets
from sync.ledger.replies import Reply
from sync.ledger.reveals import Asked, RevealView, Shown
from sync.ledger.rules import RuleRefusedError
from sync.ledger.sessions import SessionView
from sync.ledger.store import LedgerError, LedgerUnavailable, NotFoundError, backup
from sync.ledger.tokens import TokenHolder, TokenView
from sync.ledger.versions import ChangedMeanwhileError
from sync.ledger.views import (
    AwaitingProof,
    Blocking,
    ClearanceStory,
    ClearanceView,
    ConfirmationView,
    Deadline,
    Ending,
    Head,
    JournalView,
    LedgerHit,
    LedgerStatus,
    OrderStory,
    OrderView,
    Outcome,
    Outgoing,
    Reassigned,
    RequestView,
    RevisionRow,
    RolledBack,
    Rule,
    RuleView,
    SubjectView,
    Taken,
    TransitionView,
    Verification,
)

__all__ = [
    "AlarmRecord",
    "Asked",
    "AwaitingProof",
    "Blocking",
    "ChangedMeanwhileError",
    "ClearanceStory",
    "ClearanceView",
    "ConfirmationView",
    "Deadline",
    "Ending",
    "Filter",
    "Head",
    "JournalView",
    "Ledger",
    "LedgerError",
    "LedgerHit",
    "LedgerStatus",
    "LedgerUnavailable",
    "NotFoundError",
    "OrderStory",
    "OrderView",
    "Outcome",
    "Outgoing",
    "PersonView",
    "Reassigned",
    "Reply",
    "RequestView",
    "RevealView",
    "RevisionRow",
    "RolledBack",
    "Rule",
    "RuleRefusedError",
    "RuleView",
    "Secrets",
    "SessionView",
    "Shown",
    "SubjectView",
    "Taken",
    "TokenHolder",
    "TokenView",
    "TransitionView",
    "Verification",
    "backup",
    "journal_kinds",
    "newest",
    "onward",
    "verify_file",
]
