"""`load`: one settings object out of file, environment and credentials, or one clear line that says what is wrong."""

import difflib
import os
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr, ValidationError

from config.section import Section
from config.tree import Key, Tree, read_credentials, read_environment, read_toml

ENVIRONMENT_PREFIX = "PALANG_"
_RESERVED = (
    "PALANG_KILL_AT",
    "PALANG_CONFIG",
    "PALANG_AGENT_SOCKET",
    "PALANG_REGULATOR_SOCKET",
    "PALANG_AGENT",
    "PALANG_TOKEN",
    "PALANG_TOKEN_FILE",
    "PALANG_CA",
)


class ConfigError(Exception):
    """A setting that can't be used. Its text is one line: origin, key, value, limit."""


S = TypeVar("S", bound=Section)


def load(
    model: type[S],
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    credentials: Path | None = None,
) -> S:
    """The settings of `model`; later sources win: defaults, file, environment (`PALANG_TABLE__KEY`), credentials.

    `credentials` is systemd's folder of them; by default the one that $CREDENTIALS_DIRECTORY names. One for a setting
    that names a file is that file.
    Raises ConfigError, whose text is one line.
    """
    tree = _read(model, path, environ, credentials)
    _refuse_unknown(model, tree)
    try:
        return model.model_validate(tree.values)
    except ValidationError as error:
        raise ConfigError(_first_line(model, tree, error)) from None


def _read(model: type[Section], path: Path | None, environ: Mapping[str, str], credentials: Path | None) -> Tree:
    try:
        tree = read_toml(path.read_text(encoding="utf-8"), path.name) if path else Tree()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    folder = credentials or (Path(named) if (named := environ.get("CREDENTIALS_DIRECTORY")) else None)
    try:
        read_environment(tree, {k: v for k, v in environ.items() if k not in _RESERVED}, ENVIRONMENT_PREFIX)
        if folder:
            read_credentials(tree, folder, lambda key: Path in _types(model, key))
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from None
    return tree


def _refuse_unknown(model: type[Section], tree: Tree) -> None:
    for key, known in _unknown(model, tree.values, ()):
        name = ".".join(str(part) for part in key)
        near = difflib.get_close_matches(str(key[-1]), known, n=1, cutoff=0.0)
        raise ConfigError(f"{tree.origin(key)}: unknown key {name}; the nearest known key is {near[0]}")


def _unknown(model: type[Section], values: Mapping[str, object], at: Key) -> Iterator[tuple[Key, list[str]]]:
    for name, value in values.items():
        row = model.model_fields.get(name)
        if row is None:
            yield (*at, name), list(model.model_fields)
            continue
        inner = section_of(row.annotation)
        if inner is None:
            continue
        if isinstance(value, dict):
            yield from _unknown(inner, value, (*at, name))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _unknown(inner, item, (*at, name, index))


def section_of(annotation: object) -> type[Section] | None:
    """The Section that a field holds, alone, in a tuple or list, or optionally; None for a plain value."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, Section) else None
    return next(filter(None, map(section_of, typing.get_args(annotation))), None)


def _first_line(model: type[Section], tree: Tree, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key: Key = first["loc"]
    name = ".".join(str(part) for part in key) or model.__name__
    origin = tree.origin(key)
    what = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    told = "" if isinstance(value, dict | SecretStr) or _secret(model, key) else f" (got {value!r})"
    return f"{origin + ': ' if origin else ''}{name}: {what}{told}"


def _secret(model: type[Section], key: Key) -> bool:
    return SecretStr in _types(model, key)


def _types(model: type[Section], key: Key) -> tuple[object, ...]:
    """The types that the row of `key` may have."""
    current: type[Section] | None = model
    annotation: object = None
    for part in key:
        if isinstance(part, str) and current and part in current.model_fields:
            annotation = current.model_fields[part].annotation
            current = section_of(annotation)
    return (annotation, *typing.get_args(annotation))
