"""A life as a table: state × event -> next state and effects. Orders and clearances have one each.

The ledger, the tests, the console and a page of docs/ read the same table. An event that is not in a state's row is
illegal there and raises. Effects are done by the ledger in the transaction that stores the state.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)
F = TypeVar("F", bound=StrEnum)


class IllegalEventError(Exception):
    """The event can't happen to a thing in this state."""

    def __init__(self, thing: str, state: StrEnum, event: StrEnum) -> None:
        super().__init__(f"{thing} that is {state} can't take the event {event}")
        self.state = state
        self.event = event


@dataclass(frozen=True)
class Life(Generic[S, E, F]):
    """The life of `thing`, which has its article, and all that can happen to it."""

    thing: str
    events: type[E]
    table: Mapping[S, Mapping[E, tuple[S, frozenset[F]]]]

    def step(self, state: S, event: E) -> tuple[S, frozenset[F]]:
        """The next state and the effects. Raises IllegalEventError where the table has no such cell."""
        try:
            return self.table[state][event]
        except KeyError:
            raise IllegalEventError(self.thing, state, event) from None

    def render(self, meanings: Mapping[E, str]) -> Iterator[str]:
        """The lines of a Markdown page: one row for each legal cell, and what each event means."""
        yield from ("| state | event | next state | effects |", "|---|---|---|---|")
        for state, row in self.table.items():
            for event, (after, effects) in row.items():
                yield f"| {state} | {event} | {after} | {', '.join(sorted(effects)) or 'none'} |"
        yield from ("", "| event | what it is |", "|---|---|")
        yield from (f"| {event} | {meanings[event]} |" for event in self.events)
