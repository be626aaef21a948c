"""The hook: the gateway's decision inside another switch's process, from the same mapped files.

`Hook` maps the node's list read-only, follows its revisions by itself, and answers in about a microsecond. It needs no
Redis, no event loop and no thread; what it stops goes into a ring of its own, which the node's writer drains. One
hook stands for one trunk: what is agreed with that peer is what the hook is made with.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, Self

from sip_filter import _core
from sip_filter._core import Decision

__all__ = ["PROTECTED", "Decision", "Hook"]

PROTECTED = ("110", "112", "113", "115", "118", "119")
"""Callees that always pass: emergency and service numbers of KM 28/2004; `urn:service:sos` does in any case."""


class Hook(_core.Hook):
    """Judges the calls and short messages of one trunk.

    `live` is the folder of the node's list (`store.live`); until there is a list, everything passes. `trunk` is the
    name that rules are scoped to, `plan` its dial plan ("international", "id-national"), `trusted` whether an `allow`
    may excuse its identities, `mode` "enforce", "shadow" or "off", `rpid` whether Remote-Party-ID names a caller too.
    `key` is the nodes' shared key of 32 bytes: with it, a hit that a gateway counts as well is known as the same call.
    ValueError names the argument and what is allowed.

    What it answers is said in `_core.pyi`. Nothing stands between the switch and those methods: a call of Python's own
    would cost a tenth of the decision.
    """

    __slots__ = ()

    def __new__(
        cls,
        live: str | PathLike[str],
        trunk: str,
        *,
        plan: str = "international",
        trusted: bool = False,
        mode: Literal["enforce", "shadow", "off"] = "enforce",
        protected: Sequence[str] = PROTECTED,
        rpid: bool = False,
        key: bytes | None = None,
    ) -> Self:
        return super().__new__(cls, live, trunk, plan, trusted, mode, protected, rpid, key)
