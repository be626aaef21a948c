"""`palang audit` and `palang store`: is the journal whole, and make Redis anew."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, ask_agent
from agent.cli.output import FAILED, UNUSABLE, Json, fail, say, show
from agent.settings import read
from config import ConfigError

app = typer.Typer(no_args_is_help=True, help="The journal: verify it.")
store = typer.Typer(no_args_is_help=True, help="Redis: make it anew.")


@app.command()
def verify(
    config: Annotated[Path | None, typer.Option("--config", help="The settings file.")] = None,
    ledger: Annotated[Path | None, typer.Option("--ledger", help="Another ledger file, such as a copy.")] = None,
    as_json: Json = False,
) -> None:
    """Verify the journal's chain and its signed checkpoints; names the first bad record. Exit 1 when there is one."""
    from sync.jws import KeyFileError, load_signer
    from sync.ledger import LedgerError, verify_file

    try:
        settings = read(config)
        keyring = load_signer(settings.contract.signing_key).keyring()
        found = verify_file(ledger or settings.ledger.path, keyring)
    except (ConfigError, KeyFileError, LedgerError, OSError) as error:
        fail(str(error), UNUSABLE)
    show({**asdict(found), "whole": found.whole}, as_json, _verification)
    if not found.whole:
        raise typer.Exit(FAILED)


@store.command()
def rebuild(
    new_epoch: Annotated[
        bool, typer.Option("--new-epoch", help="After a restore: nodes take the ledger's list, even an older one.")
    ] = False,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Make Redis anew from the ledger; nodes go on deciding meanwhile."""
    done = ask_agent(socket, lambda api: api.post("/v1/store/rebuild", {"new_epoch": new_epoch}))
    show(done, as_json, lambda r: say(f"rebuilding {r['entries']:,} entries at revision {r['revision']}"))


def _verification(found: dict[str, Any]) -> None:
    if found["whole"]:
        say(f"whole: {found['records']:,} records, {found['checkpoints']:,} signed checkpoints")
    else:
        say(f"broken at record {found['first_bad']}: {found['problem']}")
