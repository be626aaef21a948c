"""Named points at which a test kills the process, to see that every crash leaves the ledger whole.

`reach(name)` does nothing unless PALANG_KILL_AT holds that name; then the process ends at once by SIGKILL, which no
handler sees. PALANG_KILL_AT=name:3 ends it at the third time, name:3:PID ends another process then. Names stand in one
table, so that a test can walk through all of them and a misspelt one is an error, not a silent pass.
"""

import os
import signal
from typing import Final

POINTS: Final = {
    "ledger.before_commit": "everything of the batch is written, nothing is committed",
    "ledger.after_commit": "the batch is durable, the caller does not know it yet",
    "feed.before_ack": "the batch is durable, the broker has no acknowledgement",
    "feed.after_ack": "the acknowledgement was handed to the socket",
    "redis.before_publish": "a revision was read from the ledger, Redis does not have it",
    "redis.after_publish": "Redis has the revision, nothing else happened since",
    "proof.before_record": "all nodes have answered, the ledger does not know it",
    "proof.after_record": "the proof is durable and its confirmation queued",
    "outbox.before_send": "a confirmation was read from the ledger, the broker does not have it",
    "outbox.after_send": "the broker has the confirmation, the ledger does not know it",
    "outbox.after_record": "the ledger knows that the broker has the confirmation",
    "node.before_apply": "a node has read a revision, its files do not have it",
    "node.after_apply": "a node's files have the revision",
}

_ENVIRONMENT = "PALANG_KILL_AT"


class _Fuse:
    """How often the armed point may still be passed, and which process it ends then."""

    def __init__(self, armed: str) -> None:
        self.name, times, victim = f"{armed}::".split(":")[:3]
        self.left = int(times or 1)
        self.victim = int(victim or os.getpid())
        if self.name and self.name not in POINTS:
            raise ValueError(f"{_ENVIRONMENT}={armed}: no such point; known: {', '.join(POINTS)}")


_fuse = _Fuse(os.environ.get(_ENVIRONMENT, ""))


def reach(name: str) -> None:
    """Pass the point `name`, or end here by SIGKILL when the environment asks for it."""
    if name not in POINTS:
        raise KeyError(f"no point is named {name}")
    if name == _fuse.name:
        _fuse.left -= 1
        if _fuse.left == 0:
            os.kill(_fuse.victim, signal.SIGKILL)
