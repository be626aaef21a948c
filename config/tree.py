"""A settings tree whose every leaf remembers where it came from, so that an error can name file and line."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Key = tuple[str | int, ...]

_TABLE = re.compile(r"^\s*\[(\[)?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)


@dataclass
class Tree:
    """Nested settings as read, and the origin of each key: `palang.toml:12`, `$PALANG_REDIS__URL`, `credential …`."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)

    def origin(self, key: Key) -> str:
        """Where `key`, or the nearest table around it, was written; empty when nothing of it was."""
        while key:
            if key in self.origins:
                return self.origins[key]
            key = key[:-1]
        return ""

    def put(self, key: tuple[str, ...], value: object, origin: str) -> None:
        """Lay one value over the tree, making tables on the way. Raises ValueError where a table is needed."""
        table = self.values
        for depth, part in enumerate(key[:-1], 1):
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{'.'.join(key[:depth])} is not a table")
            table = inner
        table[key[-1]] = value
        self.origins[key] = origin


def read_toml(text: str, name: str) -> Tree:
    """The tree of a TOML text. Raises tomllib.TOMLDecodeError, whose message carries line and column."""
    values = tomllib.loads(text)
    return Tree(values, {key: f"{name}:{line}" for key, line in _lines(text)})


def read_environment(tree: Tree, environ: Mapping[str, str], prefix: str) -> None:
    """Lay `PREFIX_TABLE__KEY=value` variables over the tree."""
    for name in sorted(environ):
        if name.startswith(prefix):
            tree.put(_split(name.removeprefix(prefix)), _scalar(environ[name]), f"${name}")


def read_credentials(tree: Tree, folder: Path, names_file: Callable[[Key], bool] = lambda key: False) -> None:
    """Lay systemd credentials (one file a setting, named `table__key`) over the tree. Other files are not ours.

    A setting that names a file, as `names_file` says, gets the credential as that file: a private key stays in it.
    """
    for path in sorted(folder.iterdir()):
        if "__" in path.name and path.is_file():
            key = _split(path.name)
            value = str(path) if names_file(key) else path.read_text(encoding="utf-8").rstrip("\n")
            tree.put(key, value, f"credential {path.name}")


def _split(name: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in name.split("__"))


def _scalar(text: str) -> object:
    """Lists and tables are written as in TOML; everything else stays text and is converted by the row's type."""
    if text.startswith(("[", "{")):
        return tomllib.loads(f"value = {text}")["value"]
    return text


def _lines(text: str) -> Iterator[tuple[Key, int]]:
    """Each key of a TOML text with its line. Keys inside inline tables fall back on the line around them."""
    table: Key = ()
    counts: dict[Key, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _TABLE.match(line):
            table = _resolve(_parts(heading[2]), counts)
            if heading[1]:
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield table, number
        elif assignment := _ASSIGNMENT.match(line):
            yield (*table, *_parts(assignment[1])), number


def _resolve(parts: Key, counts: dict[Key, int]) -> Key:
    """`gateway.trunks.x` inside the second `[[gateway.trunks]]` is `gateway.trunks.1.x`."""
    key: Key = ()
    for position, part in enumerate(parts):
        key = (*key, part)
        if position < len(parts) - 1 and key in counts:
            key = (*key, counts[key])
    return key


def _parts(dotted: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
