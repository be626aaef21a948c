"""Versions: a change that was decided on an older state of a thing is refused, not applied on top of another's."""

from sync.ledger.store import LedgerError


class ChangedMeanwhileError(LedgerError):
    """The thing has changed since the caller looked. Its text names both versions."""


def check(about: str, version: int, expected: int | None) -> None:
    """Go on when `about` is still at the version that the caller looked at; without one there is no condition.

    Raises ChangedMeanwhileError.
    """
    if expected is not None and expected != version:
        raise ChangedMeanwhileError(f"{about} is at version {version}, not {expected}: look again, then decide")
