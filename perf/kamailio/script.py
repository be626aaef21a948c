"""The script that we ship, with a switch to leave its question to the hook out and refuse unasked.

Both ways run in one process, since two processes of the same script differ by more than the question costs. A request
on the second trunk turns the question on, one on the third turns it off.
"""

from collections.abc import Callable

import palang  # type: ignore[import-not-found]  # The script that we ship, beside this one.

Refusal = Callable[[object], tuple[int, str] | None]


def mod_init() -> object:
    switch = palang.mod_init()
    (_, calls), (_, asking), _ = switch._trunks
    ask: Refusal = palang.refusal
    now = ask

    def unasked(hook: object) -> tuple[int, str]:
        return 603, "Decline"

    def refusal(hook: object) -> tuple[int, str] | None:
        nonlocal now
        if hook is not calls:
            now = ask if hook is asking else unasked
        return now(hook)

    palang.refusal = refusal
    return switch
