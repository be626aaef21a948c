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


def _paths(made: dict[str, str]) -> None:
    for what, path in made.items():
        say(f"{what}: {path}")
