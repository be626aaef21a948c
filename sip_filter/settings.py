"""The settings of a node: who it is, how it reaches Redis, and what its gateway listens for, trusts and protects.

Values are checked here, once; `Gateway.to_core_json` hands the Rust gateway what it needs. Messages name the value
and the limit. A change of `[gateway]` can be loaded while running; `[node]` and `[redis]` need a restart.
"""

import ipaddress
import json
import re
import socket
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_serializer, model_validator

from config import Section

_NAME = re.compile(r"[a-z0-9-]{1,32}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")
_SHORT_CODE = re.compile(r"[0-9]{2,15}")
_CODE = re.compile(r"[0-9]+X*", re.ASCII)
_MOST_CODE = 5
BUILT_IN_PLANS = ("international", "id-national")
_SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path less its end, unix(7)
KEY_BYTES = 32
MOST_KEYS = 3


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"name {text!r} must be 1 to 32 of a-z, 0-9 and -")
    return text


def _endpoint(text: str) -> str:
    """`host:port` with a literal address; IPv6 in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"address {text!r} must be <IP address>:<port 0 to 65535>")
    if host.startswith("[") != (":" in host):
        raise ValueError(f"address {text!r}: an IPv6 address stands in brackets")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError(f"address {text!r}: {host!r} is not an IP address; names are not looked up") from None
    return text


def _watch_address(text: str) -> str:
    return _endpoint(text) if text else text


def _listen(text: str) -> str:
    transport, colon, rest = text.partition(":")
    if not colon or transport not in ("udp", "tcp", "tls"):
        raise ValueError(f"listen {text!r} must begin with udp:, tcp: or tls:")
    _endpoint(rest)
    if ipaddress.ip_address(rest.rpartition(":")[0].strip("[]")).is_unspecified:
        raise ValueError(f"listen {text!r} must name one address of this machine: it stands in our Via")
    return text


def _next_hop(text: str) -> str:
    transport, address = _hop_transport(text)
    if transport not in ("udp", "tcp", "tls"):
        raise ValueError(f"next hop {text!r} must be <IP address>:<port>, or that behind tcp: or tls:")
    _endpoint(address)
    if text.endswith(":0"):
        raise ValueError(f"next hop {text!r}: port 0 is no destination; 1 to 65535 are")
    return text


def _hop_transport(text: str) -> tuple[str, str]:
    """How a next hop is reached, and where: `tcp:192.0.2.9:5060` is a stream, a bare address is UDP."""
    named = re.match(r"[a-z]+(?=:)", text)
    return (named[0], text[named.end() + 1 :]) if named else ("udp", text)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"network {text!r} is not an IP network in CIDR form: {error}") from None


def _tls_name(text: str) -> str:
    """A name that a certificate is known by (RFC 5922): a domain, with or without `sip:`, or an IP address."""
    name = re.sub(r"(?i)^sip:", "", text)
    try:
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        if len(name) > 253 or not _DOMAIN.fullmatch(name):
            raise ValueError(
                f"name {text!r} must be a domain such as sip.carrier.example or an IP address, without user, port or"
                " wildcard"
            ) from None
    return name.lower()


def _short_code(text: str) -> str:
    if not _SHORT_CODE.fullmatch(text):
        raise ValueError(f"protected code {text!r} must be 2 to 15 digits")
    return text


def _label(text: str) -> str:
    if not 1 <= len(text) <= 32 or not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
        raise ValueError(f"label {text!r} must be 1 to 32 printable ASCII characters without quote or backslash")
    return text


def _contact(text: str) -> str:
    """What may stand in a Reason or Call-Info header: checked again by the core."""
    if not re.fullmatch(r"[!-~]{1,128}", text) or re.search(r'["<>;,\\]', text):
        raise ValueError(f"contact {text!r} must be 1 to 128 of ASCII without space, quote, < > ; , and backslash")
    return text


def _https(text: str) -> str:
    if not _contact(text).startswith("https://"):
        raise ValueError(f"URL {text!r} must begin with https:// (RFC 8688)")
    return text


def _redress_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,48}", text):
        raise ValueError(f"id {text!r} must be up to 48 of A-Z, a-z, 0-9, _ and -; 16 hex digits follow it")
    return text


def _socket_path(path: Path) -> Path:
    size = len(str(path).encode())
    if size > _SOCKET_PATH_BYTES:
        raise ValueError(f"socket path {path} has {size} bytes; the system allows {_SOCKET_PATH_BYTES}")
    return path


def _code(text: str) -> str:
    """The digits of a dialling code, in which X stands for any digit at its end."""
    if not _CODE.fullmatch(text) or len(text) > _MOST_CODE:
        raise ValueError(f"code {text!r} must be 1 to {_MOST_CODE} digits, the last of them X for any")
    return text


def _plain_code(text: str) -> str:
    if not _code(text).isdecimal():
        raise ValueError(
            f"code {text!r} must be digits alone; X stands for any only in international and carrier codes"
        )
    return text


Name = Annotated[str, AfterValidator(_name)]
Code = Annotated[str, AfterValidator(_code)]
PlainCode = Annotated[str, AfterValidator(_plain_code)]
Listen = Annotated[str, AfterValidator(_listen)]
Network = Annotated[str, AfterValidator(_network)]
WatchAddress = Annotated[str, AfterValidator(_watch_address)]
SocketPath = Annotated[Path, AfterValidator(_socket_path)]


def _host_name() -> str:
    """This machine's name as a node's name: what does not fit becomes a hyphen."""
    return re.sub(r"[^a-z0-9-]", "-", socket.gethostname().partition(".")[0].lower())[:32] or "node"


class Node(Section):
    """This gateway as one of the roster."""

    name: Name = Field(
        default_factory=_host_name, description="This node's name in the roster; the host's name if unset."
    )
    live: Path = Field(Path("/run/palang/list"), description="Folder of the mapped list; a tmpfs, mode 0750.")
    state: Path = Field(Path("/var/lib/palang/list"), description="Folder of snapshots and log; a disk.")
    control: SocketPath = Field(
        Path("/run/palang/gateway.sock"),
        description="Unix socket that answers proof and state to this node's own user.",
    )
    checkpoint_mib: int = Field(
        8, ge=1, le=4096, description="A new snapshot is written when the log of revisions is larger than this, in MiB."
    )
    checkpoint_minutes: int = Field(
        60, ge=1, le=1440, description="A new snapshot is written this often when there were any revisions."
    )
    hits_kept: int = Field(
        100_000, ge=1_000, le=10_000_000, description="Hits kept in memory while Redis is away; the oldest are dropped."
    )
    metrics: WatchAddress = Field(
        "127.0.0.1:9465", description="Where metrics and health are asked for (HTTP, no sign-in); empty: nowhere."
    )
    stale_s: float = Field(
        60.0, ge=1, le=86_400, description="A list that Redis has not confirmed for longer is stale, in seconds."
    )


class Redis(Section):
    """Where the list is published."""

    url: str = Field("unix:///run/palang/redis.sock", description="Server: unix:///path, redis:// or rediss:// URL.")
    name: Name = Field("main", description="Name of the list; its keys begin with {palang:NAME}.")
    timeout_ms: int = Field(200, ge=20, le=5_000, description="Longest wait for an answer of Redis, in milliseconds.")
    verify_seconds: int = Field(
        60, ge=1, le=60, description="How often every entry in Redis is compared with the ledger, in seconds."
    )
    stream_length: int = Field(
        10_000, ge=100, le=1_000_000, description="About how many revisions the change stream keeps."
    )

    @model_validator(mode="after")
    def _check_url(self) -> "Redis":
        if not self.url.startswith(("unix:///", "redis://", "rediss://")):
            raise ValueError(f"redis.url {self.url!r} must begin with unix:///, redis:// or rediss://")
        return self


class Plan(Section):
    """A dial plan of your own, beside the built-in `international` and `id-national`."""

    name: Name = Field(examples=["my-national"], description="The plan's name, as trunks use it.")
    effective: date = Field(examples=["2026-01-01"], description="Day from which it holds; `palang explain` shows it.")
    source: str = Field("", max_length=300, description="Where it is written down.")
    international_prefixes: tuple[Code, ...] = Field(
        ("00",),
        description="Codes before a full international number, the preferred first; X is any digit, as in 010XX.",
    )
    country_code: str = Field(
        "", pattern=r"^([1-9][0-9]{0,2})?$", description="Country code of national numbers; without, there are none."
    )
    trunk_prefixes: tuple[PlainCode, ...] = Field((), description="Codes before a national number, such as 0.")
    carrier_prefixes: tuple[Code, ...] = Field(
        (), description="Codes before a national number that goes by a named carrier; X is any digit."
    )
    bare_prefixes: tuple[PlainCode, ...] = Field(
        (), description="What national numbers begin with that come without trunk prefix."
    )
    first_digits: str = Field(
        "123456789",
        pattern=r"^[0-9]{1,10}$",
        description="First digits that a number behind a trunk or carrier prefix can have.",
    )

    @field_serializer("country_code")
    def _none_if_empty(self, code: str) -> str | None:
        return code or None

    @model_validator(mode="after")
    def _check_plan(self) -> "Plan":
        if self.name in BUILT_IN_PLANS:
            raise ValueError(f"plan {self.name!r} is built in; give yours another name")
        if not self.country_code and (self.trunk_prefixes or self.carrier_prefixes or self.bare_prefixes):
            raise ValueError(f"plan {self.name!r} has national prefixes; they mean nothing without country_code")
        return self


class Trunk(Section):
    """An interconnect peer that calls arrive on."""

    name: Name = Field(examples=["intl-a"], description="The trunk's name, as rules scope to it.")
    sources: tuple[Network, ...] = Field(
        examples=[["192.0.2.0/28"]], min_length=1, description="Networks that this peer sends from, in CIDR form."
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Source port of this peer's datagrams, where another has the same network; any if unset."
        " Connections come from any port.",
    )
    tls_names: tuple[Annotated[str, AfterValidator(_tls_name)], ...] = Field(
        (),
        description="Names in this peer's certificate (the domains of its sip: URIs, else its DNS names, RFC 5922; or"
        " IP addresses): the TLS connections that show one are this trunk's, and nothing else is.",
    )
    plan: Name = Field(
        "international",
        description="Dial plan by which this peer writes numbers: international, id-national or one of gateway.plans.",
    )
    trusted: bool = Field(False, description="Whether its asserted identities may earn an allow (RFC 3325).")
    mode: Literal["enforce", "shadow", "off"] = Field(
        "enforce", description="enforce rejects, shadow only counts what it would do, off judges nothing."
    )
    response: Literal["603", "603+", "608", "403"] = Field(
        "603",
        description="Final response to a rejected request; 603+ and 608 say where to complain (gateway.redress), 608"
        " only to callers that can show it, else 603.",
    )
    role: Literal["interconnect", "dip"] = Field(
        "interconnect", description="A dip only asks: it is answered, and nothing of it is forwarded."
    )
    dip_pass: Literal["404", "302"] = Field(
        "404", description="What a dip is told of calls that may go on; 302 names the same target again."
    )
    max_per_s: int | None = Field(
        None, ge=1, le=1_000_000, description="New calls and messages a second, over all workers; no limit if unset."
    )
    shed: Literal["500", "480"] = Field(
        "500", description="What calls over max_per_s get, with Retry-After; a dip is told to go on."
    )
    label_from: bool = Field(False, description="Whether a label stands in From too, not only in P-Asserted-Identity.")
    rpid: bool = Field(False, description="Whether Remote-Party-ID is read as an identity too.")
    message: bool = Field(True, description="Whether MESSAGE requests are judged too.")


def _confusion(one: Trunk, other: Trunk, by_connection: bool) -> str:
    """What to do about two trunks of one network that can't be told apart; empty: they can."""
    if one.tls_names and other.tls_names:
        return "give each tls_names of its own" if {*one.tls_names} & {*other.tls_names} else ""
    if one.tls_names or other.tls_names:
        return ""
    if one.port == other.port:
        return "give each a port or tls_names of its own"
    if by_connection and one.port and other.port:
        return (
            "a port tells datagrams apart, not connections: give one of them tls_names, or the network to a trunk"
            " without port as well"
        )
    return ""


class NextHop(Section):
    """A switch behind the gateway."""

    name: Name = Field(examples=["switch-1"], description="The next hop's name.")
    address: Annotated[str, AfterValidator(_next_hop)] = Field(
        examples=["192.0.2.17:5060"],
        description="Where requests go: IP address and port, by UDP; behind tcp: or tls: over a connection, for which"
        " listen needs an address of the same transport.",
    )
    server_name: str | None = Field(
        None, description="For tls:, the name that its certificate must carry; its IP address if unset."
    )
    ca: Path | None = Field(None, description="For tls:, PEM file of the authorities that may have signed it; needed.")
    certificate: Path | None = Field(
        None, description="For tls:, PEM file of the certificate that we show, if it asks for one."
    )
    key: Path | None = Field(None, description="For tls:, PEM file of that certificate's private key.")
    networks: tuple[Network, ...] = Field(
        examples=[["192.0.2.17/32"]],
        min_length=1,
        description="Networks that this switch sends from, in CIDR form.",
    )
    drain: bool = Field(False, description="No new calls; what is on course still reaches it.")

    @property
    def transport(self) -> str:
        """udp, tcp or tls."""
        return _hop_transport(self.address)[0]

    @model_validator(mode="after")
    def _check_tls(self) -> "NextHop":
        given = [name for name in ("server_name", "ca", "certificate", "key") if getattr(self, name) is not None]
        if self.transport != "tls" and given:
            raise ValueError(f"next hop {self.name!r} is not reached by tls:; {given[0]} is for those that are")
        if self.transport == "tls" and "ca" not in given:
            raise ValueError(
                f"next hop {self.name!r}: ca is missing; tls: needs the authority that vouches for the switch"
            )
        if ("certificate" in given) != ("key" in given):
            raise ValueError(f"next hop {self.name!r}: certificate and key are given together")
        return self


class Checks(Section):
    """OPTIONS by which the gateway sees whether its next hops live."""

    seconds: int = Field(5, ge=0, le=300, description="Seconds between two checks of a next hop; 0 sends none.")
    misses: int = Field(
        2, ge=1, le=10, description="Checks in a row without a good answer that take a next hop out of use."
    )


class Redress(Section):
    """Where blocked callers complain, told with the responses 603+ and 608."""

    name: str = Field("", max_length=64, description="The operator's name on the card of a 608.")
    url: Annotated[str, AfterValidator(_contact)] | None = Field(None, description="A page to complain on.")
    tel: Annotated[str, AfterValidator(_contact)] | None = Field(None, description="A number to call.")
    email: Annotated[str, AfterValidator(_contact)] | None = Field(None, description="An address to write to.")
    id: Annotated[str, AfterValidator(_redress_id)] = Field(
        "", description="Stands before the 16 hex digits that name a call in 603+, the same as in its hit."
    )
    card_url: Annotated[str, AfterValidator(_https)] | None = Field(
        None, description="Where the card of a 608 is fetched; the operator's web server hands out card_file there."
    )
    card_file: Path = Field(
        Path("/var/lib/palang/card/card.jws"), description="File that holds the signed card, new every half minute."
    )
    card_key: Path = Field(
        Path("/var/lib/palang/card.key"), description="File with the private P-256 key that signs it, PEM or JWK."
    )
    card_x5u: Annotated[str, AfterValidator(_https)] | None = Field(
        None, description="URL of the certificate that vouches for card_key."
    )

    @model_validator(mode="after")
    def _check_card(self) -> "Redress":
        contacts = [name for name in ("url", "tel", "email") if getattr(self, name)]
        if len(contacts) > 1:
            raise ValueError(f"redress names {' and '.join(contacts)}; 603+ and 608 carry one contact")
        if self.card_url and not (contacts and self.name and self.card_x5u):
            raise ValueError("redress.card_url needs name, card_x5u and one of url, tel, email: the card shows them")
        return self

    def to_core(self) -> dict[str, str]:
        """What the core sends itself; the card is Python's."""
        return self.model_dump(mode="json", include={"url", "tel", "email", "id", "card_url"}, exclude_none=True)


class Streams(Section):
    """Limits of connections (TCP and TLS); what goes over one of them is closed, the others go on."""

    idle_seconds: int = Field(600, ge=1, le=86_400, description="A connection that is silent so long is closed.")
    message_seconds: int = Field(
        10,
        ge=1,
        le=30,
        description="Longest time from the first byte of a message to its last.",
    )
    handshake_seconds: int = Field(5, ge=1, le=5, description="A TLS handshake that takes longer is given up.")
    per_source: int = Field(64, ge=1, le=100_000, description="Most connections from one IP address.")
    total: int = Field(
        1_024, ge=1, le=100_000, description="Most connections in all; keep it below the limit of file descriptors."
    )


class Tls(Section):
    """Certificates of the tls: addresses (TLS 1.2 and 1.3). Files that change are taken over; bad ones are not."""

    certificate: Path | None = Field(
        None, description="PEM file of our certificate, and of those between it and its authority."
    )
    key: Path | None = Field(None, description="PEM file of its private key.")
    client_ca: Path | None = Field(
        None, description="PEM file of authorities; a peer must show a certificate of one of them (mutual TLS)."
    )


class Gateway(Section):
    """The SIP element between trunks and switch."""

    listen: tuple[Listen, ...] = Field(
        ("udp:127.0.0.1:5060",),
        min_length=1,
        description="Addresses to listen on: udp:, tcp: or tls:, one udp: at least; port 0 takes a free one.",
    )
    workers: int = Field(1, ge=1, le=64, description="Threads that answer packets.")
    key_file: Path = Field(
        Path("/var/lib/palang/gateway.key"),
        description="File with the key of 64 hex digits that all nodes share, or up to three, a line each, while one"
        " takes another's place: the first makes branches and tags, all are accepted.",
    )
    protected: tuple[Annotated[str, AfterValidator(_short_code)], ...] = Field(
        ("110", "112", "113", "115", "118", "119"), description="Called numbers that always pass, emergency first."
    )
    record_route: bool = Field(False, description="Whether the gateway stays in the path of a dialog.")
    label: Annotated[str, AfterValidator(_label)] = Field(
        "[Spam?]", description="Put before the display name of a labelled caller."
    )
    bypass: bool = Field(
        False, description="Forward everything, judge nothing: an emergency act, alarmed and reported."
    )
    count_traffic: bool = Field(
        True, description="Count calls and messages by minute, trunk and prefix: what previews of rules are made of."
    )
    plans: tuple[Plan, ...] = Field((), description="Dial plans of your own.")
    streams: Streams = Field(default_factory=Streams, description="Limits of connections.")
    tls: Tls = Field(default_factory=Tls, description="Certificates; needed where listen has a tls: address.")
    trunks: tuple[Trunk, ...] = Field((), description="The peers; packets of others are dropped.")
    next_hops: tuple[NextHop, ...] = Field((), description="The switches behind.")
    checks: Checks = Field(Checks(), description="Checks of the next hops.")
    redress: Redress = Field(Redress(), description="Where blocked callers complain.")

    @model_validator(mode="after")
    def _check_peers(self) -> "Gateway":
        if not any(address.startswith("udp:") for address in self.listen):
            raise ValueError(f"listen {list(self.listen)} names no udp: address; one is needed")
        for hop in self.next_hops:
            if hop.transport != "udp" and not any(address.startswith(hop.transport) for address in self.listen):
                raise ValueError(
                    f"next hop {hop.address!r} needs a {hop.transport}: address in listen, which our Via names"
                )
        missing = [f"tls.{name}" for name in ("certificate", "key") if getattr(self.tls, name) is None]
        wanted = any(address.startswith("tls:") for address in self.listen) or self.tls != Tls()
        if missing and wanted:
            raise ValueError(f"{missing[0]} is missing; a tls: address in listen needs tls.certificate and tls.key")
        for what, names in (("trunk", [t.name for t in self.trunks]), ("next hop", [h.name for h in self.next_hops])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is there {names.count(twice[0])} times; a name is used once")
        plans = [*BUILT_IN_PLANS, *(plan.name for plan in self.plans)]
        for name in plans:
            if plans.count(name) > 1:
                raise ValueError(f"plan {name!r} is there {plans.count(name)} times; a name is used once")
        for trunk in self.trunks:
            if trunk.plan not in plans:
                raise ValueError(f"trunk {trunk.name!r}: plan {trunk.plan!r} is none of {', '.join(plans)}")
        self._tell_apart()
        for trunk in self.trunks:
            if trunk.response == "603+" and not (self.redress.url or self.redress.tel or self.redress.email):
                raise ValueError(f"trunk {trunk.name!r} answers 603+, which needs redress.url, .tel or .email")
            if trunk.response == "608" and not self.redress.card_url:
                raise ValueError(f"trunk {trunk.name!r} answers 608, which needs redress.card_url")
        return self

    def _tell_apart(self) -> None:
        """Every message can be only one trunk's. Raises ValueError that says where it can't, and what to do."""
        heard = {address.partition(":")[0] for address in self.listen}
        for at, trunk in enumerate(self.trunks):
            if trunk.tls_names and not ("tls" in heard and self.tls.client_ca):
                raise ValueError(f"trunk {trunk.name!r}: tls_names needs a tls: address in listen and tls.client_ca")
            if trunk.tls_names and trunk.port:
                raise ValueError(
                    f"trunk {trunk.name!r}: port {trunk.port} is of datagrams; with tls_names it has connections only"
                )
            for other in self.trunks[:at]:
                for network in sorted({*trunk.sources} & {*other.sources}):
                    portless = any(network in t.sources and not (t.port or t.tls_names) for t in self.trunks)
                    if advice := _confusion(trunk, other, not portless and heard != {"udp"}):
                        raise ValueError(f"network {network} is of trunks {other.name!r} and {trunk.name!r}; {advice}")

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of certificates and keys, which may be replaced while the gateway runs."""
        card_key = self.redress.card_key if self.redress.card_url else None
        named = (self.key_file, self.tls.certificate, self.tls.key, self.tls.client_ca, card_key)
        return tuple(path for path in named if path)

    @property
    def modes(self) -> dict[str, str]:
        """Each trunk's mode; with the bypass on, none is judged."""
        return {trunk.name: "off" if self.bypass else trunk.mode for trunk in self.trunks}

    @property
    def plans_json(self) -> str:
        """The plans of its own, as `_core.read_number` and `_core.read_message` take them."""
        return json.dumps([plan.model_dump(mode="json") for plan in self.plans])

    def to_core_json(self, node: str) -> str:
        """The settings as `_core.Gateway` takes them, with the key read from its file. Raises ValueError, OSError."""
        fields = self.model_dump(mode="json", exclude={"key_file", "redress"})
        tls = fields["tls"] if self.tls.certificate else None
        made = {"tls": tls, "redress": self.redress.to_core(), "node": node, "key": read_keys(self.key_file)}
        return json.dumps({**fields, **made})


def read_keys(path: Path) -> list[str]:
    """The keys that all nodes share, from their file, the one in use first. Raises ValueError, OSError."""
    keys = path.read_text(encoding="ascii", errors="replace").split()
    if not 1 <= len(keys) <= MOST_KEYS:
        raise ValueError(f"{path} holds {len(keys)} keys; 1 to {MOST_KEYS} are possible, a line each")
    for at, key in enumerate(keys, 1):
        if not re.fullmatch(rf"[0-9a-fA-F]{{{KEY_BYTES * 2}}}", key):
            raise ValueError(f"{path}: key {at} must be {KEY_BYTES * 2} hex digits, it has {len(key)} characters")
        if key in keys[: at - 1]:
            raise ValueError(f"{path}: key {at} is there before")
    return [key.lower() for key in keys]
