"""Settings as people see them: what is in force in this agent, where each value came from, keys as fingerprints only.

It reads the settings that the agent started with, never the file again: what stands there now is not in force yet.
Numbers in values are masked, and what a secret is worth is shown nowhere.
"""

import hashlib
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from agent.access import TABLE
from agent.settings import Settings
from agent.views import mask_digits
from config import Section
from config.loader import ENVIRONMENT_PREFIX
from sip_filter.settings import BUILT_IN_PLANS, read_keys
from sync.jws import KeyFileError, load_keyring

Record = dict[str, Any]

_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_UNSET: Final = "not set"


def view(settings: Settings, environ: Mapping[str, str] = os.environ) -> Record:
    """Every table with its rows; trunks, plans, roster and roles by name; keys by their fingerprints."""
    return {
        "tables": [
            {"name": name, "what": (type(section).__doc__ or "").split("\n")[0], "rows": _rows(name, section, environ)}
            for name, section in _sections(settings, "")
        ],
        "trunks": [
            {"name": t.name, "plan": t.plan, "mode": t.mode, "response": t.response, "role": t.role}
            for t in settings.gateway.trunks
        ],
        "plans": [
            *({"name": name, "from": "built in"} for name in BUILT_IN_PLANS),
            *({"name": plan.name, "from": plan.source or "settings"} for plan in settings.gateway.plans),
        ],
        "roster": [{"node": node.name, "control": str(node.control)} for node in settings.proof.roster],
        "keys": list(_keys(settings)),
        "roles": [
            {"role": role, "permissions": sorted(permission for permission in allowed)}
            for role, allowed in TABLE.items()
        ],
    }


def fingerprint(secret: bytes) -> str:
    """The first 16 hex digits of SHA-256, in fours: enough to tell two keys apart, useless to make one."""
    digest = hashlib.sha256(secret).hexdigest()[:16]
    return "sha256:" + " ".join(digest[at : at + 4] for at in range(0, 16, 4))


def _sections(section: Section, at: str) -> Iterator[tuple[str, Section]]:
    """Each table of the settings by its name in the file, those that may stand several times by the names in them."""
    for name in type(section).model_fields:
        value, key = getattr(section, name), f"{at}.{name}" if at else name
        if isinstance(value, Section):
            yield key, value
            yield from _sections(value, key)
        elif isinstance(value, tuple):
            for place, one in enumerate(item for item in value if isinstance(item, Section)):
                inner = f"{key}[{getattr(one, 'name', place)}]"
                yield inner, one
                yield from _sections(one, inner)


def _rows(table: str, section: Section, environ: Mapping[str, str]) -> list[Record]:
    rows = []
    for name, row in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section) or (isinstance(value, tuple) and any(isinstance(v, Section) for v in value)):
            continue
        rows.append(
            {
                "key": name,
                "value": _shown(value),
                "default": None if row.is_required() else _shown(_default(row)),
                "from": _origin(table, name, name in section.model_fields_set, environ),
                "what": row.description or "",
            }
        )
    return rows


def _default(row: FieldInfo) -> Any:
    return row.get_default(call_default_factory=True)


def _origin(table: str, name: str, was_set: bool, environ: Mapping[str, str]) -> str:
    """Where the value came from; the sources that win are looked at first, as the loader does."""
    key = f"{table}.{name}".replace(".", "__")
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not was_set:
        return "default"
    if folder and (Path(folder) / key).is_file():
        return "credential"
    if any(variable.lower() == f"{ENVIRONMENT_PREFIX}{key}".lower() for variable in environ):
        return "environment"
    return "file"


def _shown(value: Any) -> Any:
    """A value without secret, password or number; figures stay figures."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return fingerprint(secret.encode()) if secret else _UNSET
    if isinstance(value, tuple | list | frozenset):
        return [_shown(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _shown(item) for name, item in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask_digits(_IN_URL.sub("•••@", str(value)))


def _keys(settings: Settings) -> Iterator[Record]:
    contract, gateway = settings.contract, settings.gateway
    yield _key("signs our confirmations", contract.signing_key, _jwk)
    for path in contract.regulator_keys:
        yield _key("verifies the regulator", path, _jwk)
    yield _key("shared by the gateways", gateway.key_file, _gateway_keys)
    for what, certificate in (
        ("gateway's TLS", gateway.tls.certificate),
        ("console's TLS", settings.console.certificate),
    ):
        if certificate:
            yield _key(what, certificate, _certificate)


def _key(what: str, path: Path, read: Callable[[Path], list[str]]) -> Record:
    """A key file by what it is for; one that this agent can't read says so, which is no fault for another's key."""
    try:
        return {"what": what, "file": path.name, "fingerprints": read(path), "error": ""}
    except (KeyFileError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it can't be read as a key"
        return {"what": what, "file": path.name, "fingerprints": [], "error": reason}


def _jwk(path: Path) -> list[str]:
    return [f"{kid} · {fingerprint(thumbprint.encode())}" for kid, thumbprint in load_keyring([path]).thumbprints()]


def _gateway_keys(path: Path) -> list[str]:
    return [fingerprint(bytes.fromhex(key)) for key in read_keys(path)]


def _certificate(path: Path) -> list[str]:
    return [fingerprint(ssl.PEM_cert_to_DER_cert(path.read_text(encoding="ascii")))]
