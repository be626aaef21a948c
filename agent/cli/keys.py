"""`palang keys`: the keys that a new installation needs."""

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import FAILED, Json, fail, say, show

app = typer.Typer(no_args_is_help=True, help="Keys: make new ones.")


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder for the key files; none is ever overwritten.")] = Path("keys"),
    name: Annotated[
        str, typer.Option("--name", help="Whose signing key it is; the files are named by it.")
    ] = "operator",
    as_json: Json = False,
) -> None:
    """Make an Ed25519 signing key (NAME.jwk, NAME.pub.jwk) and, unless there is one, the gateways' shared key."""
    from agent.keys import make_keys
    from sync.jws import KeyFileError

    try:
        made = make_keys(folder, name)
    except (KeyFileError, OSError) as error:
        fail(str(error), FAILED)
    show(made, as_json, _paths)


@app.command("next")
def next_(
    file: Annotated[Path, typer.Argument(help="The gateways' key file.")] = Path("keys/gateway.key"),
    as_json: Json = False,
) -> None:
    """Print the key that is to follow the gateways' shared key; docs/keys.md says how it takes the other's place."""
    from agent.keys import next_key

    try:
        key = next_key(file)
    except (ValueError, OSError) as error:
        fail(str(error), FAILED)
    if as_json:
        show({"key": key}, True, lambda _: None)
    else:
        print(key)  # noqa: T201


def _paths(made: dict[str, str]) -> None:
    for what, path in made.items():
        say(f"{what}: {path}")
