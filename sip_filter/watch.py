"""Certificates and keys under watch: others replace them while we run, and nobody should have to tell us.

A change is told once the files have rested, so that of two that belong together not one alone is taken.
"""

import stat
from collections.abc import Iterable
from pathlib import Path


class Watch:
    """Looks at files by what tells one state from another: inode, size and times. Ask `changed` regularly."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._taken = self._seen = self._look()

    def changed(self) -> bool:
        """Whether a file is another than when this was last True, or at the start, and all are as at the last look."""
        before, self._seen = self._seen, self._look()
        if self._seen == self._taken or self._seen != before:
            return False
        self._taken = self._seen
        return True

    def _look(self) -> tuple[object, ...]:
        return tuple(_state(path) for path in self._paths)


def _state(path: Path) -> object:
    """What tells one state of a file from another; a text says why it can't be read."""
    try:
        found = path.stat()
    except OSError as error:
        return error.strerror
    if not stat.S_ISREG(found.st_mode):
        return "not a regular file"
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
