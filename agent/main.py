"""The `palang` command. The gateway starts without the command line's libraries: they cost more time than its start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from agent import cores


def main() -> None:
    """Run one command; the exit code says what came of it (0 done, 1 refused or failed, 2 unusable or unreachable)."""
    cores.none()
    if sys.argv[1:2] == ["gateway"]:
        with without("rich"):
            from agent.gateway import main as gateway

        sys.exit(gateway(sys.argv[2:]))
    from agent.cli.app import app
    from agent.cli.remote import in_front

    options, words = in_front(sys.argv[1:])
    app(next(iter(words), None))([*options, *words])


@contextmanager
def without(name: str) -> Iterator[None]:
    """Let nothing import the package `name` meanwhile: structlog loads rich, and what rich loads, wherever it finds it,
    to draw what a gateway never shows; that is a quarter of a start."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # What the import system takes for "there is no such thing".
    try:
        yield
    finally:
        del sys.modules[name]


if __name__ == "__main__":
    main()
