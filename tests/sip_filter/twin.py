"""The twin: a naive model of the list and its decision, obvious and slow. Where it and the core differ, one is wrong.

It shares no code with either face of the product: texts are split by hand, the list is a dict, and precedence is
written as the design says it, one sentence after the other.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Twin:
    """A list: what was published, and which clauses of it have been taken out since, by time."""

    published: dict[str, str] = field(default_factory=dict)
    in_force: dict[str, list[str]] = field(default_factory=dict)
    epoch: int = 1
    n: int = 0

    def change(self, lines: list[str], now: int) -> None:
        for line in lines:
            subject, stack = line.split("\t")
            self.published.pop(subject, None)
            self.in_force.pop(subject, None)
            if stack:
                self.published[subject] = stack
                self.in_force[subject] = [clause for clause in stack.split("; ") if not ended(clause, now)]

    def load(self, lines: list[str], now: int) -> None:
        self.published, self.in_force = {}, {}
        self.change(lines, now)

    def expire(self, now: int) -> int:
        before = sum(map(len, self.in_force.values()))
        for subject, clauses in self.in_force.items():
            self.in_force[subject] = [clause for clause in clauses if not ended(clause, now)]
        return before - sum(map(len, self.in_force.values()))

    def next_expiry(self) -> int | None:
        return min((end for clauses in self.in_force.values() for c in clauses if (end := until(c))), default=None)

    def lines(self) -> list[str]:
        return sorted(f"{subject}\t{stack}" for subject, stack in self.published.items())

    def digest(self) -> str:
        return digest(self.lines())

    def touching(self, number: str) -> list[str]:
        digits = number[1:]
        subjects = [number] + [f"+{digits[:length]}*" for length in range(len(digits), 0, -1)]
        return [f"{subject}\t{self.published[subject]}" for subject in subjects if subject in self.published]

    def judge(
        self, identities: list[tuple[str, bool]], trunk: str, kind: str = "call", trunk_mode: str = "enforce"
    ) -> dict[str, Any]:
        """The judgement, by the names of `Judgement`'s attributes; `subject` and the like are None when none."""
        verdict, decided, shadow = "pass", None, None
        if trunk_mode != "off":
            winners = [self._winners(number, trusted, trunk, kind) for number, trusted in identities]
            decided = _worst([enforced for enforced, _ in winners])
            shadow = _worst([overall if overall and overall[1][2] == "shadow" else None for _, overall in winners])
            if decided and decided[2][1] in ("reject", "label"):
                verdict = decided[2][1]
            if trunk_mode == "shadow" and verdict != "pass":
                verdict, decided, shadow = "pass", None, decided
        return {"verdict": verdict, **_told("", decided), **_told("shadow_", shadow)}

    def _winners(self, number: str, trusted: bool, trunk: str, kind: str) -> tuple[Any, Any]:
        digits = number[1:]
        subjects = [number] + [f"+{digits[:length]}*" for length in range(1, len(digits) + 1)]
        found = [
            (subject, words)
            for subject in subjects
            for words in (clause.split(" ") for clause in self.in_force.get(subject, []))
            if words[3] in ("both", kind) and _on(words, trunk) and (words[1] != "allow" or trusted)
        ]
        return _best([one for one in found if one[1][2] == "enforce"]), _best(found)


def digest(lines: list[str]) -> str:
    total = sum(int.from_bytes(hashlib.blake2b(line.encode(), digest_size=16).digest(), "big") for line in lines)
    return f"{total % 2**128:032x}"


def until(clause: str) -> int | None:
    last = clause.split(" ")[-1]
    return int(last.removeprefix("until=")) if last.startswith("until=") else None


def ended(clause: str, now: int) -> bool:
    end = until(clause)
    return end is not None and end <= now


def _on(words: list[str], trunk: str) -> bool:
    scopes = [word for word in words if word.startswith("@")]
    return not scopes or trunk in scopes[0][1:].split(",")


def _best(found: list[tuple[str, list[str]]]) -> tuple[str, list[str]] | None:
    orders = [one for one in found if one[1][:2] == ["order", "reject"]]
    # A regulator's order beats every NOC rule; then the longest subject, a Number over a Prefix; then allow, reject,
    # label. What is left is only what a report names first: an order, an enforced clause.
    ranked = sorted(
        orders or found,
        key=lambda one: (
            -len(one[0].strip("+*")),
            one[0].endswith("*"),
            ["allow", "reject", "label"].index(one[1][1]),
            ["order", "noc"].index(one[1][0]),
            ["enforce", "shadow"].index(one[1][2]),
        ),
    )
    return ranked[0] if ranked else None


def _worst(winners: list[tuple[str, list[str]] | None]) -> tuple[int, str, list[str]] | None:
    for action in ("reject", "label", "allow"):
        for index, winner in enumerate(winners):
            if winner and winner[1][1] == action:
                return index, winner[0], winner[1]
    return None


def _told(start: str, won: tuple[int, str, list[str]] | None) -> dict[str, Any]:
    index, subject, (authority, action) = (won[0], won[1], won[2][:2]) if won else (None, None, (None, None))
    name = "shadow" if start else "subject"
    return {name: subject, f"{start}authority": authority, f"{start}action": action, f"{start}identity": index}
