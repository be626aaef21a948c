"""Lists, a page at a time: `{"items": [...], "next": ...}`; `next` is what `after` takes to go on, null at the end."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="Most items in the answer.")]
After = Annotated[int | None, Query(ge=0, le=2**53, description="The `next` of the page before.")]


def page(
    found: Sequence[T], limit: int, place: Callable[[T], int], record: Callable[[T], dict[str, Any]]
) -> dict[str, Any]:
    """A page of at most `limit`, made of one more than that where there is more; `place` is an item's own number."""
    shown = found[:limit]
    return {
        "items": [record(item) for item in shown],
        "next": place(shown[-1]) if len(found) > limit else None,
    }
