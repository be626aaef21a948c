"""`palang keys`: the keys that a new installation needs."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import FAILED, Json, fail, say, show
from sip_filter.settings import KEY_BYTES
from sync.jws import KeyFileError, generate_key, public_part, thumbprint, write_key

app = typer.Typer(no_args_is_help=True, help="Keys: make new ones.")


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder for the key files; files that are there stay untouched.")],
    name: Annotated[
        str, typer.Option("--name", help="Whose signing key it is; the files are named by it.")
    ] = "operator",
    as_json: Json = False,
) -> None:
    """Make an Ed25519 signing key (NAME.jwk, NAME.pub.jwk) and, unless there is one, the gateways' shared key."""
    try:
        made = make_keys(folder, name)
    except (KeyFileError, OSError) as error:
        fail(str(error), FAILED)
    show(made, as_json, _paths)


def _paths(made: dict[str, str]) -> None:
    for what, path in made.items():
        say(f"{what}: {path}")


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
