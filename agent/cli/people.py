"""`palang admin`, `palang people`, `palang token`, `palang roles`: who may come in, as what, and their programs."""

import re
from typing import Annotated, Any

import typer

from agent.cli import remote
from agent.cli.asking import AgentSocket, Reason, Yes, ask_agent, sure
from agent.cli.output import FAILED, Json, fail, say, show, table

admin = typer.Typer(no_args_is_help=True, help="Admins: make the first one.")
app = typer.Typer(no_args_is_help=True, help="People: list, show, invite, roles, disable, enable.")
token = typer.Typer(no_args_is_help=True, help="Tokens for programs: list, create, end.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The person's name, as they sign in.")]
Role = Annotated[list[str], typer.Option("--role", help="A role; may be repeated. palang roles lists them.")]

_SPAN = re.compile(r"([1-9][0-9]{0,2})([hd])")
_UNITS = {"h": 3600, "d": 86_400}


@admin.command("create")
def create_admin(
    name: Name,
    display: Annotated[str, typer.Option("--display", help="How pages name them; else the name.")] = "",
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Invite an admin, on the agent's own machine: the way in before there is anybody. There is no default password."""
    if socket is None and remote.chosen() is not None:
        fail("an admin is made on the agent's own machine, not over --agent", FAILED)
    body = {"name": name, "display": display or name, "roles": ["admin"], "reason": "made on the command line"}
    show(ask_agent(socket, lambda api: api.post("/v1/people", body)), as_json, _invited)


@app.command("list")
def list_people(as_json: Json = False, socket: AgentSocket = None) -> None:
    """List everybody."""
    show(ask_agent(socket, lambda api: api.get("/v1/people", limit=1000))["items"], as_json, _people)


@app.command("show")
def show_person(name: Name, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Show one person."""
    show(ask_agent(socket, lambda api: api.get(f"/v1/people/{name}")), as_json, lambda person: _people([person]))


@app.command()
def invite(
    name: Name,
    role: Role,
    reason: Reason,
    display: Annotated[str, typer.Option("--display", help="How pages name them; else the name.")] = "",
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Invite somebody; the word that is printed once lets them set password and second factor."""
    body = {"name": name, "display": display or name, "roles": role, "reason": reason}
    show(ask_agent(socket, lambda api: api.post("/v1/people", body)), as_json, _invited)


@app.command("invite-again")
def invite_again(
    name: Name, reason: Reason, yes: Yes = False, as_json: Json = False, socket: AgentSocket = None
) -> None:
    """Take password, second factor, sessions and tokens away, and invite the person anew."""
    sure(f"{name} loses password, second factor, sessions and tokens, and has to enrol again.", yes)
    show(ask_agent(socket, lambda api: api.post(f"/v1/people/{name}/invite", {"reason": reason})), as_json, _invited)


@app.command("roles")
def set_roles(
    name: Name, role: Role, reason: Reason, yes: Yes = False, as_json: Json = False, socket: AgentSocket = None
) -> None:
    """Give a person these roles and no others; their sessions end."""
    sure(f"{name} becomes {', '.join(sorted(role))} and nothing else; their sessions end.", yes)
    body = {"roles": role, "reason": reason}
    done = ask_agent(socket, lambda api: api.post(f"/v1/people/{name}/roles", body))
    show(done, as_json, lambda person: _people([person]))


@app.command()
def disable(name: Name, reason: Reason, yes: Yes = False, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Keep a person out from this moment."""
    sure(f"{name} may not come in any more; their sessions and tokens end for good.", yes)
    done = ask_agent(socket, lambda api: api.post(f"/v1/people/{name}/disable", {"reason": reason}))
    show(done, as_json, lambda person: _people([person]))


@app.command()
def enable(name: Name, reason: Reason, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Let a person in again; what ended stays ended."""
    done = ask_agent(socket, lambda api: api.post(f"/v1/people/{name}/enable", {"reason": reason}))
    show(done, as_json, lambda person: _people([person]))


def roles(as_json: Json = False, socket: AgentSocket = None) -> None:
    """Who may do what: the table that guards every request."""
    show(ask_agent(socket, lambda api: api.get("/v1/roles")), as_json, _roles)


@token.command("list")
def list_tokens(as_json: Json = False, socket: AgentSocket = None) -> None:
    """List the live tokens: on the agent's own machine everybody's, with a token one's own."""
    show(ask_agent(socket, lambda api: api.get("/v1/tokens", limit=1000))["items"], as_json, _tokens)


@token.command("create")
def create_token(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Whose it is: it opens no more than they may.")],
    scope: Annotated[list[str], typer.Option("--scope", help="A permission that it opens; may be repeated.")],
    name: Annotated[str, typer.Option("--name", help="What it is for.")],
    expires: Annotated[str, typer.Option("--expires", help="When it ends: 12h, 30d (at most 365d).")] = "30d",
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Make a token for a person's program, on the agent's own machine; it is printed once."""
    span = _SPAN.fullmatch(expires)
    if span is None:
        fail(f"--expires {expires!r} is no time: write 12h or 30d", FAILED)
    seconds = int(span[1]) * _UNITS[span[2]]
    body = {"person": person, "name": name, "scopes": scope, "expires_s": seconds}
    show(ask_agent(socket, lambda api: api.post("/v1/tokens", body)), as_json, _made)


@token.command("end")
def end_token(
    number: Annotated[int, typer.Argument(metavar="TOKEN", help="Its number, as the list shows it.", min=1)],
    yes: Yes = False,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """End a token; programs that use it are refused from this moment."""
    sure(f"token {number} ends for good; programs that use it are refused.", yes)
    show(ask_agent(socket, lambda api: api.delete(f"/v1/tokens/{number}")), as_json, lambda one: _tokens([one]))


def _people(people: list[dict[str, Any]]) -> None:
    table(
        ("name", "shown as", "roles", "state", "since", "by"),
        (
            (p["name"], p["display"], ", ".join(p["roles"]), p["state"], p["created_at"], p["created_by"])
            for p in people
        ),
        "nobody yet; the first admin is made with: palang admin create NAME",
    )


def _invited(person: dict[str, Any]) -> None:
    say(f"{person['name']} is invited as {', '.join(person['roles'])}; the word is told once, and works once")
    say(f"until {person['invitation_ends']}. They enrol with it in the console, at /enrol:")
    say("")
    say(f"  {person['invitation']}")


def _roles(found: dict[str, Any]) -> None:
    roles = found["items"]
    table(
        ("permission", *(role["role"] for role in roles)),
        ((p, *("yes" if p in role["permissions"] else "" for role in roles)) for p in found["permissions"]),
        "no roles",
    )


def _tokens(tokens: list[dict[str, Any]]) -> None:
    table(
        ("token", "whose", "for", "opens", "used", "ends"),
        ((t["id"], t["person"], t["name"], ", ".join(t["scopes"]), t["used_at"], t["expires_at"]) for t in tokens),
        "no tokens",
    )


def _made(made: dict[str, Any]) -> None:
    say(f"token {made['id']} of {made['person']} opens {', '.join(made['scopes'])} until {made['expires_at']};")
    say("it is told once:")
    say("")
    say(f"  {made['token']}")
