"""The pages, one file a noun. A module that is in this list has a `router`, and is there."""

from typing import Final

from agent.console.pages import (
    approvals,
    audit,
    clearances,
    explain,
    house,
    orders,
    people,
    reveals,
    rules,
    settings,
    shift,
    sign_in,
    wall,
)

PAGES: Final = (
    approvals,
    audit,
    clearances,
    explain,
    house,
    orders,
    people,
    reveals,
    rules,
    settings,
    shift,
    sign_in,
    wall,
)
"""A line each."""
