"""A SIP message on its way to being explained: how long it may be, and its parts as a person may see them."""

from typing import Final

from agent.masking import mask_text

MOST_RAW: Final = 65_535
"""Bytes of the longest message: what an IP packet can carry."""
MOST_RAW_TEXT: Final = (MOST_RAW + 2) // 3 * 4
"""The same in base64."""


def mask_written(text: str) -> str:
    """A text in which a number may stand in any form, separated or escaped: only its first four digits are left."""
    return mask_text(text)
