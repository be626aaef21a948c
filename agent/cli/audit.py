"""`palang audit` and `palang store`: the journal listed, verified and exported; and make Redis anew."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, ask_agent
from agent.cli.output import FAILED, UNUSABLE, Json, fail, say, show, table
from agent.settings import read
from config import ConfigError

Kind = Annotated[str | None, typer.Option("--kind", help="Only records of this kind, such as rule.mode.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Only what this person or key did.")]
About = Annotated[str | None, typer.Option("--about", help="Only about this order, rule or clearance.")]
Since = Annotated[str | None, typer.Option("--since", help="From then on: 2026-11-22T15:00:00Z.")]
Until = Annotated[str | None, typer.Option("--until", help="Until before then.")]

app = typer.Typer(no_args_is_help=True, help="The journal: list, verify, export.")
store = typer.Typer(no_args_is_help=True, help="Redis: make it anew.")


@app.command()
def verify(
    config: Annotated[Path | None, typer.Option("--config", help="The settings file.")] = None,
    ledger: Annotated[Path | None, typer.Option("--ledger", help="Another ledger file, such as a copy.")] = None,
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", help="Checkpoints kept off this machine, one a line; - is stdin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify the journal's chain and its signed checkpoints; names the first bad record. Exit 1 when there is one.

    A tail that was cut with all that told of it here shows only against checkpoints that were kept elsewhere.
    """
    from sync.journal import read_checkpoints
    from sync.jws import KeyFileError, load_signer
    from sync.ledger import LedgerError, verify_file

    try:
        settings = read(config)
        keyring = load_signer(settings.contract.signing_key).keyring()
        points = read_checkpoints(_lines(checkpoints), keyring)
        found = verify_file(ledger or settings.ledger.path, keyring, elsewhere=points)
    except (ConfigError, KeyFileError, LedgerError, OSError, ValueError) as error:
        fail(str(error), UNUSABLE)
    show({**asdict(found), "whole": found.whole}, as_json, _verification)
    if not found.whole:
        raise typer.Exit(FAILED)


@app.command("list")
def list_records(
    kind: Kind = None,
    actor: Actor = None,
    about: About = None,
    since: Since = None,
    until: Until = None,
    after: Annotated[int | None, typer.Option("--after", help="Only records older than this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most records to list.")] = 50,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """List who did what, when and why, the newest first. Numbers are masked."""
    wanted = _wanted(kind, actor, about, since, until)
    found = ask_agent(socket, lambda api: api.get("/v1/journal", after=after, limit=limit, **wanted))
    show(found["items"], as_json, _list)


@app.command()
def export(
    into: Annotated[Path, typer.Option("--into", help="Folder that the file is written to.")] = Path(),
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    kind: Kind = None,
    actor: Actor = None,
    about: About = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Write records to a file that carries your name and is signed over its content. Numbers are masked."""
    wanted = _wanted(kind, actor, about, since, until)
    try:
        path, size = ask_agent(socket, lambda api: api.download("/v1/journal/export", into, {"format": form, **wanted}))
    except OSError as error:
        fail(f"{into}: {error.strerror}", UNUSABLE)
    show(
        {"file": str(path), "bytes": size}, as_json, lambda done: say(f"wrote {done['file']}, {done['bytes']:,} bytes")
    )


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export.")],
    config: Annotated[Path | None, typer.Option("--config", help="The settings file.")] = None,
    as_json: Json = False,
) -> None:
    """Check that an export is as it left us. Exit 1 when it is not."""
    from agent.exports import NotOurs
    from agent.exports import check as check_export
    from sync.jws import KeyFileError, load_signer

    try:
        keyring = load_signer(read(config).contract.signing_key).keyring()
        stated = check_export(file.read_bytes(), keyring)
    except NotOurs as error:
        fail(f"{file}: {error}", FAILED)
    except (ConfigError, KeyFileError, OSError) as error:
        fail(str(error), UNUSABLE)
    show(
        stated,
        as_json,
        lambda s: say(f"as it left us: {s['records']:,} records, taken by {s['exporter']} at {s['at']}"),
    )


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


def _wanted(*values: str | None) -> dict[str, str]:
    names = ("kind", "actor", "about", "since", "until")
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    return sys.stdin.readlines() if str(path) == "-" else path.read_text(encoding="utf-8").splitlines()


def _list(records: list[dict[str, Any]]) -> None:
    table(
        ("record", "at", "who", "what", "about", "said"),
        (
            (r["seq"], r["at"], r["actor"], r["kind"], r["about"], json.dumps(r["body"], ensure_ascii=False)[:200])
            for r in records
        ),
        "no record fits",
    )


def _verification(found: dict[str, Any]) -> None:
    if found["whole"]:
        say(f"whole: {found['records']:,} records, {found['checkpoints']:,} signed checkpoints")
    else:
        say(f"broken at record {found['first_bad']}: {found['problem']}")
