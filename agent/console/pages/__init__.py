"""The pages, one file a noun. A module that is in this list has a `router`, and is there."""

from typing import Final

from agent.console.pages import house, wall

PAGES: Final = (house, wall)
