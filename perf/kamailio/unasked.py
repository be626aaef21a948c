"""The script that we ship, less its question to the hook: every call is refused unasked."""

import palang
from palang import mod_init

__all__ = ["mod_init"]

palang.refusal = lambda hook: (603, "Decline")
