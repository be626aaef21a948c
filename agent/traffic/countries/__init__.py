"""Countries: what else begins with the digits of a prefix, so that nobody blocks a country by mistake.

`also_covers` reads the number plans that libphonenumber knows; `NOTES` is the small dated table of what they omit.
"""

from agent.traffic.countries.covers import Covered, also_covers
from agent.traffic.countries.notes import NOTES, Note

__all__ = ["NOTES", "Covered", "Note", "also_covers"]
