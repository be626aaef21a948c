"""The key files of a new installation: a signing key, its public half, and the secret that the gateways share."""

import os
import secrets
from pathlib import Path

from sip_filter.settings import KEY_BYTES, read_keys
from sync.jws import generate_key, public_part, thumbprint, write_key


def next_key(path: Path) -> str:
    """The key that is to follow the first of a gateways' key file. Raises ValueError, OSError.

    Its secret half is new; its naming half is the same, so that a call has one name under both (docs/keys.md).
    """
    current = read_keys(path)[0]
    return secrets.token_hex(KEY_BYTES // 2) + current[KEY_BYTES:]


def make_keys(folder: Path, name: str) -> dict[str, str]:
    """Write the key files; what they are, and where. Raises KeyFileError when a signing key is there already."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = generate_key()
    private, public, shared = folder / f"{name}.jwk", folder / f"{name}.pub.jwk", folder / "gateway.key"
    kid = f"{name}-{thumbprint(key)}"
    write_key(private, key, kid, private=True)
    write_key(public, public_part(key), kid, private=False)
    if not shared.exists():
        handle = os.open(shared, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
    return {"signing key": str(private), "public key": str(public), "gateways' shared key": str(shared)}
