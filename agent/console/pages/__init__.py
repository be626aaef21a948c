"""The pages, one file a noun. A module that is in this list has a `router`, and is there."""

from typing import Final

from agent.console.pages import (
    approvals,
    house,
    people,
    rules,
    sign_in,
    wall,
)

PAGES: Final = (
    house,
    wall,
    rules,
    approvals,
    people,
    sign_in,
)
"""A line each."""
