"""The one catalogue of codes: why a message, an order or one of its subjects was not simply carried out.

A code is stable: the regulator's software, the console and the alarms read it. Its text never changes meaning.
`CATALOGUE` gives each code its severity and the sentence that a person reads.
"""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Why. The value is what travels in a confirmation and stands in the journal."""

    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    REVOKED_KEY = "revoked_key"
    WRONG_ALGORITHM = "wrong_algorithm"
    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    SCHEMA = "schema"
    WRONG_OPERATOR = "wrong_operator"
    REPLAYED = "replayed"
    UNKNOWN_CONFIRMATION = "unknown_confirmation"
    RECEIPT_MISMATCH = "receipt_mismatch"
    NOT_INTERNATIONAL = "not_international"
    IMPOSSIBLE_NUMBER = "impossible_number"
    EMERGENCY_NUMBER = "emergency_number"
    PROTECTED_NUMBER = "protected_number"
    PREFIX_TOO_SHORT = "prefix_too_short"
    PREFIX_TOO_WIDE = "prefix_too_wide"
    BURST = "burst"
    SUPERSEDED = "superseded"
    REFUSED_BY_OPERATOR = "refused_by_operator"
    CLEARED = "cleared"


class Severity(StrEnum):
    """What the people who run Palang have to do about it."""

    NOTICE = "notice"
    """Ordinary life: nothing to do."""
    WARNING = "warning"
    """Somebody should look today."""
    ALARM = "alarm"
    """Somebody may be attacking or badly mistaken: look now."""


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue."""

    severity: Severity
    sentence: str


CATALOGUE: dict[Code, Entry] = {
    Code.UNSIGNED: Entry(Severity.ALARM, "The message carries no signature."),
    Code.BAD_SIGNATURE: Entry(Severity.ALARM, "The signature does not belong to this message and this key."),
    Code.UNKNOWN_KEY: Entry(Severity.ALARM, "The message names a key that is not in the regulator's key ring."),
    Code.REVOKED_KEY: Entry(Severity.ALARM, "The message is signed with a key that has been revoked."),
    Code.WRONG_ALGORITHM: Entry(Severity.ALARM, "The only signature algorithm accepted is Ed25519 (RFC 9864)."),
    Code.OVERSIZED: Entry(Severity.WARNING, "The message is longer than the limit of the contract."),
    Code.MALFORMED: Entry(
        Severity.WARNING, "The message is not the compact JWS with strict JSON that the contract asks for."
    ),
    Code.SCHEMA: Entry(Severity.WARNING, "The message does not follow the schema of the contract."),
    Code.WRONG_OPERATOR: Entry(Severity.WARNING, "The message is addressed to another operator."),
    Code.REPLAYED: Entry(Severity.ALARM, "The order id or the serial is known with other content."),
    Code.UNKNOWN_CONFIRMATION: Entry(Severity.WARNING, "The receipt is for a confirmation that was never sent."),
    Code.RECEIPT_MISMATCH: Entry(Severity.ALARM, "The receipt names another order or status than its confirmation."),
    Code.NOT_INTERNATIONAL: Entry(
        Severity.WARNING, "The subject lacks its + and country code; digits alone are ambiguous and are not guessed."
    ),
    Code.IMPOSSIBLE_NUMBER: Entry(Severity.WARNING, "No telephone number has this form."),
    Code.EMERGENCY_NUMBER: Entry(Severity.ALARM, "Emergency numbers are never blocked."),
    Code.PROTECTED_NUMBER: Entry(Severity.WARNING, "The subject touches a number that the operator protects."),
    Code.PREFIX_TOO_SHORT: Entry(Severity.WARNING, "The prefix is shorter than any that is accepted."),
    Code.PREFIX_TOO_WIDE: Entry(
        Severity.WARNING, "The prefix covers so many subscribers that a person has to approve it."
    ),
    Code.BURST: Entry(Severity.ALARM, "Many more orders came within an hour than in any hour of the last 30 days."),
    Code.SUPERSEDED: Entry(Severity.NOTICE, "An order with a higher serial already rules this subject."),
    Code.REFUSED_BY_OPERATOR: Entry(Severity.NOTICE, "A named person at the operator refused the held order."),
    Code.CLEARED: Entry(Severity.NOTICE, "Two people at the operator lifted the block after a clarification."),
}


def render() -> str:
    """The catalogue as a Markdown page."""
    rows = "".join(f"| `{code}` | {entry.severity} | {entry.sentence} |\n" for code, entry in CATALOGUE.items())
    return (
        "# Codes\n\nWritten from `sync/codes.py`. A confirmation carries one as `code`; "
        "`not_covered` carries one for each subject left out.\n\n| code | severity | what it says |\n|---|---|---|\n"
        + rows
    )
