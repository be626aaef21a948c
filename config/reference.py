"""The example file and the reference page, written from the rows themselves."""

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from config.loader import ENVIRONMENT_PREFIX, section_of
from config.section import Section

_HEAD = """\
# Palang's settings: every key with its default or, in a [[table]] that may stand several times, with an example.
# Any key can also be set from the environment ({prefix}TABLE__KEY=value) or, better for secrets, as a
# systemd credential (a file named table__key; where the setting names a file, it is that file). Written from the
# settings' own rows: `make docs`.
"""


def example(model: type[Section]) -> str:
    """The example file: each table, each row with its sentence; defaults stand commented out."""
    return _HEAD.format(prefix=ENVIRONMENT_PREFIX) + "".join(
        _example_table(name, section, many) for name, section, many in _tables(model)
    )


def page(model: type[Section]) -> str:
    """The reference page in Markdown: a table of rows for each table of the file."""
    parts = ["# Settings\n\nWritten from the settings' own rows (`make docs`); later sources win: default, file,"]
    parts.append(f" environment (`{ENVIRONMENT_PREFIX}TABLE__KEY`), systemd credential (`table__key`; where the")
    parts.append(" setting names a file, the credential is that file).\n")
    for name, section, many in _tables(model):
        heading = f"[[{name}]]" if many else f"[{name}]"
        parts.append(
            f"\n## `{heading}`\n\n{_sentence(section)}\n\n| key | type | default | what it is |\n|---|---|---|---|\n"
        )
        for key, row in _rows(section):
            default = "required" if row.is_required() else f"`{_toml(_default(row))}`"
            parts.append(f"| `{key}` | {_type(row.annotation)} | {default} | {row.description} |\n")
    return "".join(parts)


def _tables(model: type[Section], prefix: str = "") -> Iterator[tuple[str, type[Section], bool]]:
    for key, row in model.model_fields.items():
        inner = section_of(row.annotation)
        if inner is None:
            continue
        many = row.annotation is not inner
        yield f"{prefix}{key}", inner, many
        yield from _tables(inner, f"{prefix}{key}.")


def _rows(section: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    return ((key, row) for key, row in section.model_fields.items() if section_of(row.annotation) is None)


def _example_table(name: str, section: type[Section], many: bool) -> str:
    lines = [f"\n# {_sentence(section)}", f"# [[{name}]]" if many else f"[{name}]"]
    for key, row in _rows(section):
        lines.append(f"# {row.description}")
        lines.append(f"# {key} = {_toml((row.examples or [''])[0] if row.is_required() else _default(row))}")
    return "\n".join(lines) + "\n"


def _sentence(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")


def _default(row: FieldInfo) -> object:
    return row.get_default(call_default_factory=True, validated_data={})


def _toml(value: object) -> str:
    if isinstance(value, SecretStr) or value is None:
        return '""'
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False, default=str)


def _type(annotation: object) -> str:
    return f"`{_type_name(annotation).replace('|', '&#124;')}`"


def _type_name(annotation: object) -> str:
    """A type as a reader of a settings file thinks of it: no validators, no modules."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(inner[0])
    if origin is typing.Literal:
        return " | ".join(json.dumps(value) for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type_name(part) for part in inner if part is not types.NoneType)
    if origin in (tuple, list):
        return f"list of {_type_name(inner[0])}"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
