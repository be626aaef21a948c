"""The commands that run something: demo, up, agent, gateway; and check-config, which only looks."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent import logs
from agent.children import ChildError, stop_signals
from agent.cli.output import FAILED, UNUSABLE, Json, fail, say, show
from agent.settings import read
from config import ConfigError

Config = Annotated[Path | None, typer.Option("--config", help="The settings file; else $PALANG_CONFIG.")]

JsonLog = Annotated[bool, typer.Option("--json", help="The log is JSON lines, with this option and without.")]


def demo(as_json: Json = False) -> None:
    """Show the main job on real parts, in about a minute. Exit 0 only if every step held."""
    from agent.client import ApiError, Unreachable
    from agent.demo.run import demo as play
    from agent.demo.steps import Broken, Step

    def tell(step: Step) -> None:
        figures = "  ".join(f"{name}={value}" for name, value in step.figures.items())
        print(f"{step.number}  {step.title:<100} {step.seconds:6.2f} s  {figures}".rstrip(), flush=True)  # noqa: T201

    try:
        records = asyncio.run(play(lambda step: None if as_json else tell(step)))
    except (Broken, ChildError, ApiError, Unreachable) as error:
        fail(f"demo: {error}", FAILED)
    if as_json:
        show(records, True, lambda _: None)
    else:
        say("every step held")


def up(
    folder: Annotated[Path, typer.Option("--dir", help="Where the set keeps its state.")] = Path(".palang"),
    regulator: Annotated[bool, typer.Option(help="Start the regulator's stand-in too.")] = True,
    switch: Annotated[str, typer.Option("--switch", help="The switch behind; else one that answers is started.")] = "",
    port: Annotated[int, typer.Option("--port", help="UDP port of the gateway on 127.0.0.1.")] = 5060,
    console: Annotated[
        str, typer.Option("--console", help="Where the console listens; empty: none.")
    ] = "127.0.0.1:8443",
    as_json: Json = False,
) -> None:
    """Start the whole set on loopback and stay until Ctrl-C."""
    try:
        asyncio.run(_up(folder.absolute(), regulator, switch, port, console, as_json))
    except (ChildError, ConfigError) as error:
        fail(str(error), UNUSABLE)


def agent(config: Config = None, as_json: JsonLog = False) -> None:
    """Run the agent until SIGTERM."""
    from agent import daemon
    from sync.ledger import LedgerError

    logs.configure()
    try:
        daemon.run(read(config))
    except (ConfigError, LedgerError, OSError) as error:
        fail(str(error), UNUSABLE)


def gateway(config: Config = None, as_json: JsonLog = False) -> None:
    """Run one node: the SIP gateway and its list, until SIGTERM; a trial, or drain it: `palang gateway --help`."""
    from agent.gateway import main

    sys.exit(main(["--config", str(config)] if config else []))


def check_config(file: Path, as_json: Json = False) -> None:
    """Check a settings file. Exit 2 and one line when it can't be used."""
    try:
        settings = read(file)
    except ConfigError as error:
        fail(str(error), UNUSABLE)
    trunks, nodes = [t.name for t in settings.gateway.trunks], [n.name for n in settings.proof.roster]
    record = {"file": str(file), "usable": True, "trunks": trunks, "nodes": nodes}
    show(record, as_json, lambda _: say(f"{file}: usable; {len(trunks)} trunks, {len(nodes)} nodes on the roster"))


async def _up(folder: Path, regulator: bool, switch: str, port: int, console: str, as_json: bool) -> None:
    from agent.demo.phones import Switch
    from agent.stage import Stage

    answering = None
    if switch:
        host, _, text = switch.rpartition(":")
        if not (host and text.isdecimal()):
            raise ConfigError(f"--switch {switch!r} is not HOST:PORT")
        behind = (host, int(text))
    else:
        answering = Switch()
        await answering.listen(("127.0.0.1", 0))
        behind = answering.address
    stop = asyncio.Event()
    stop_signals(stop.set)
    set_up = Stage(folder, behind, with_regulator=regulator, gateway=("127.0.0.1", port), console=console)
    async with set_up as stage:
        record = {
            "gateway": "{}:{}".format(*stage.gateway),
            "caller": stage.caller,
            "switch": "{}:{}".format(*behind),
            "settings": str(stage.settings),
            "console": f"http://{console}" if console else "",
        }
        show(record, as_json, _told)
        watch = asyncio.create_task(stage.watch())
        wait = asyncio.create_task(stop.wait())
        await asyncio.wait({watch, wait}, return_when=asyncio.FIRST_COMPLETED)
        for task in (watch, wait):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    if answering:
        answering.close()


def _told(record: dict[str, str]) -> None:
    say(f"up: the gateway at udp:{record['gateway']} takes calls from {record['caller']}")
    say(f"the switch behind it is {record['switch']}; the settings are {record['settings']}")
    if record["console"]:
        say(f"the console is at {record['console']}; `palang admin create NAME` lets the first person in")
    say("try `palang status` and `palang regulator order block -` in this folder; Ctrl-C ends it")
