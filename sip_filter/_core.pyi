"""The manual of Palang's Rust core.

Texts are canonical and checked: a subject is `+6281234567890` or `+77*`, a stack as in `sip_filter.rule`, an entry
line `<subject>\t<stack>`. A revision is the pair (epoch, n). Times are Unix seconds; where a name ends in `_ms`, Unix
milliseconds. A digest is 32 lower-case hexadecimal digits: the sum, modulo 2^128, of each entry line's BLAKE2b-128.
Errors are `ValueError` for a value that breaks a limit (it names both) and `OSError` for what the machine refuses.
Everything here may be called from any thread.
"""

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import ClassVar, Literal, Self, TypeAlias, TypedDict, final, type_check_only

# --- list

StrPath: TypeAlias = str | PathLike[str]

Hit: TypeAlias = tuple[int, str, str, str, str, str, int, tuple[int, int], int]
"""(at_ms, subject, authority, action, effect, kind, trunk, revision, call): one request that a rule stopped
(effect `reject`), marked (`label`) or would have (`shadow`). `trunk` is the `trunk_key` of its name; `call` is the
same for every retransmission of one call."""

class GapError(Exception):
    """A revision that is not the next one. Nothing was changed; take a whole list."""

    expected: tuple[int, int]
    got: tuple[int, int]

class DigestError(Exception):
    """A list or change that does not come to the digest published with it. Nothing was changed; take a whole list."""

    expected: str
    computed: str

@final
class Writer:
    """A node's one writer of the list.

    `live` is a folder in memory (tmpfs) that gateways map; `state` one on disk, from which a writer starts with
    everything else dead. Both are made (0750) if need be. Opening always makes a new generation, from the newest good
    snapshot and the log of revisions after it; what a killed writer left half done is never seen.
    """

    def __new__(cls, live: StrPath, state: StrPath) -> Writer:
        """Open or make the list; BlockingIOError while another writer holds one of the folders."""

    @property
    def revision(self) -> tuple[int, int]:
        """What is in force; (1, 0) for a list that was never filled."""

    @property
    def digest(self) -> str:
        """Of what was published, clauses that have ended since included."""

    @property
    def origin(self) -> Literal["empty", "snapshot"]:
        """What this writer started from."""

    def apply(self, epoch: int, n: int, changes: Sequence[str], digest: str, now: int) -> None:
        """Take the next revision: at most 1,000 entry lines, each subject once; an empty stack deletes.

        The revision is verified whole, then on disk, then in force. GapError, DigestError, ValueError and OSError
        leave the list as it was.
        """

    def load(self, epoch: int, n: int, entries: Iterable[str], digest: str, now: int) -> None:
        """Take a whole list as a new generation, whatever came before. An error leaves the former list in force."""

    def expire(self, now: int) -> int:
        """Take out the clauses that have ended by `now`; how many. Revision and digest stay as published."""

    def next_expiry(self) -> int | None:
        """When the next clause ends."""

    def checkpoint(self) -> None:
        """Write a snapshot and begin a new log; two snapshots are kept. Does nothing when nothing was logged since."""

    def log_bytes(self) -> int:
        """How long the log of revisions since the last snapshot is."""

    def heartbeat(self, now_ms: int) -> None:
        """Give a sign of life. Former generations lose their names after 5 seconds; lost live files are restored."""

    def entry(self, subject: str) -> str:
        """The stack of a subject as published, "" when it has none."""

    def touching(self, number: str) -> list[str]:
        """The entry lines that touch a number: the longest subject first, the number itself before a prefix."""

    def entries(self) -> list[str]:
        """Every entry line as published, in the order of subjects."""

    def sizes(self) -> dict[str, int]:
        """numbers, prefixes, policies in force; capacity and used slots for numbers; longest_probe; generation;
        bytes of the image."""

    def drain_hits(self) -> tuple[list[Hit], int]:
        """Every hit that this folder's gateways left since the last time, and how many were lost."""

    def close(self) -> None:
        """Let the folders go. Readers keep the list."""

@final
class Judgement:
    """What is decided for one request. Indexes are into the identities asked about."""

    @property
    def verdict(self) -> Literal["pass", "reject", "label"]: ...
    @property
    def subject(self) -> str | None:
        """Whose clause decided. With `pass`, the one whose `allow` excused an identity."""

    @property
    def authority(self) -> Literal["order", "noc"] | None: ...
    @property
    def action(self) -> Literal["reject", "allow", "label"] | None: ...
    @property
    def identity(self) -> int | None: ...
    @property
    def shadow(self) -> str | None:
        """Whose clause would have decided, were it or the trunk enforcing."""

    @property
    def shadow_authority(self) -> Literal["order", "noc"] | None: ...
    @property
    def shadow_action(self) -> Literal["reject", "allow", "label"] | None: ...
    @property
    def shadow_identity(self) -> int | None: ...
    @property
    def revision(self) -> tuple[int, int]:
        """The list that was asked was this one or a newer one."""

@final
class List:
    """The list, to read, in any process: FileNotFoundError when none was ever loaded in `live`.

    It follows the writer by itself, and keeps the last good list when there is no other.
    """

    def __new__(cls, live: StrPath) -> List: ...
    @property
    def revision(self) -> tuple[int, int]: ...
    @property
    def digest(self) -> str: ...
    def judge(
        self,
        identities: Sequence[tuple[str, bool]],
        trunk: str,
        kind: Literal["call", "message"] = "call",
        trunk_mode: Literal["enforce", "shadow", "off"] = "enforce",
    ) -> Judgement:
        """Judge a request by its identities, as (number, trusted). Protected callees are the caller's business."""

def judge(
    lines: Sequence[str],
    identities: Sequence[tuple[str, bool]],
    trunk: str,
    kind: Literal["call", "message"] = "call",
    trunk_mode: Literal["enforce", "shadow", "off"] = "enforce",
    now: int = 0,
) -> Judgement:
    """Judge a request by a list given as entry lines: what `List.judge` would answer, were they the whole list."""

def entry_digest(line: str) -> int:
    """The digest of one entry line; ValueError when it is not canonical."""

def list_digest(lines: Iterable[str]) -> str:
    """The digest of a list, its lines in any order; 32 zeros for none."""

def trunk_key(name: str) -> int:
    """The 64-bit key that stands for a trunk's name in hits."""

def bench_lookup(live: StrPath, count: int) -> tuple[float, float]:
    """Nanoseconds per look-up over `count` numbers of the list in random order: each waiting for the one before, and in
    batches of 64."""

# --- hook

@final
class Decision:
    """What the hook answers for one request. Nothing but `number` and `subject` is personal."""

    @property
    def verdict(self) -> Literal["pass", "reject", "label", "malformed"]: ...
    @property
    def status(self) -> tuple[int, str] | None:
        """The final response that the request should get: (603, "Decline"), or why it is malformed; None to go on."""

    @property
    def why(self) -> str:
        """`judged`, or why it was not, by the gateway's counters: `protected`, `no_list`, `anonymous`, `in_dialog`,
        `malformed`, `judge_errors`; and `not_a_call`, `not_sip`."""

    @property
    def subject(self) -> str | None:
        """Whose clause decided; with `pass`, the one whose `allow` excused an identity."""

    @property
    def number(self) -> str | None:
        """The caller that it was found for, whole: `Number.parse(…).masked()` before a person sees it."""

    @property
    def shadow(self) -> str | None:
        """Whose clause would have decided, were it or the trunk enforcing."""

    @property
    def revision(self) -> tuple[int, int]:
        """The list that was asked was this one or a newer one; (0, 0) when none was."""

class Hook:
    """What `sip_filter.Hook` is; that one says what its arguments mean."""

    def __new__(
        cls,
        live: StrPath,
        trunk: str,
        plan: str,
        trusted: bool,
        mode: str,
        protected: Sequence[str],
        rpid: bool = False,
        key: bytes | None = None,
    ) -> Self: ...
    def judge_message(self, raw: bytes) -> Decision:
        """The decision for a SIP message as it came. Only INVITE and MESSAGE outside a dialog are judged."""

    def refusal(self, raw: str | bytes, /) -> tuple[int, str] | None:
        """The status of `judge_message`'s decision and no more: for a switch that asks about every request.

        A text stands for its UTF-8; UnicodeEncodeError when it has none (a lone surrogate).
        """

    def judge(
        self, numbers: Sequence[str], callee: str | None = None, kind: Literal["call", "message"] = "call"
    ) -> Decision:
        """The decision for callers known otherwise: `numbers` as the trunk writes them, at most 16.

        `callee` is the Request-URI or the digits dialled; a protected one passes.
        """

    @property
    def revision(self) -> tuple[int, int]:
        """The list that a call would be judged by now, as (epoch, n); (0, 0) while there is none."""

    @property
    def lost_hits(self) -> int:
        """Hits that found no place: the ring was full, or this process may not write in `live`."""

# --- gateway

@final
class Gateway:
    """A node's SIP element: Rust threads between trunks and next hops. Python only starts, configures and counts.

    `live` is the list's folder; without a list there everything is forwarded and counted as `no_list`, until one comes.
    `settings` is JSON; every error is a ValueError that names key and value. Unknown keys are errors.

        listen        ["udp:192.0.2.1:5060", "tcp:…", "tls:…"]: addresses of this machine, never a wildcard, one of
                      UDP at least; port 0 takes a free one
        workers       threads per address, 1 to 64 (1)
        node          this node's name
        key           64 hex digits, the same on all nodes, or a list of up to three, the newest first: with that one
                      branches and tags are made, all are accepted; the last 32 digits of all are best alike
        protected     called numbers that always pass, of 2 to 15 digits ([]); urn:service:sos always does
        plans         dial plans of one's own ([]); codes are 1 to 5 digits, X for any where told
          name, effective (an ISO date), source ("")
          international_prefixes, carrier_prefixes   codes, X allowed at the end ([])
          trunk_prefixes, bare_prefixes              codes ([])
          country_code, first_digits                 of national numbers (none, "123456789")
        trunks        peers; datagrams of others get no answer
          name          1 to 32 of a-z, 0-9 and -
          sources       networks that the peer sends from; a request towards it goes only there
          port          the source port of the peer's datagrams, where peers share a network (any); connections come
                        from any port
          tls_names     domains and IP addresses of the peer's certificate (RFC 5922, no wildcards): the TLS connections
                        that show one are this trunk's, and nothing else is; needs tls.client_ca ([])
                        A datagram is the trunk's with its port, then with the narrowest network; a connection the one's
                        whose name it shows, then with the narrowest network, then without a port. Trunks that are alike
                        in all of these are an error
          plan          "international", "id-national" or the name of one of `plans`
          trusted       whether its identities can earn an allow; otherwise its P-Asserted-Identity is removed (false)
          mode          "enforce", "shadow" or "off" ("enforce")
          response      "603", "603+" (needs a contact in redress), "608" (needs redress.card_url; 603 for calls without
                        Feature-Caps +sip.608, and while `card_signed` tells of no good card) or "403" ("603")
          role          "interconnect", or "dip": requests are judged and answered, never forwarded ("interconnect")
          dip_pass      what a dip says of calls that may go on: "404", or "302" to the Request-URI ("404")
          max_per_s     new calls and messages a second, over all workers, 1 to 1,000,000 (no limit); after quiet, a
                        second's worth at once
          shed          what is over it gets: "500" or "480", with Retry-After; on a dip trunk dip_pass ("500")
          label_from    whether a label stands in From too (false)
          rpid          whether Remote-Party-ID is an identity too (false)
          message       whether MESSAGE is judged too (true)
        next_hops     switches: name, address ("192.0.2.9:5060" by UDP; "tcp:…" or "tls:…" over one connection of ours,
                      which needs a listen address of that transport and family), for tls the PEM files ca, certificate
                      and key (none), server_name (the IP address), networks that they send from, drain (false): no new
                      calls, what is on course still reaches it. A call's hop is chosen by its Call-ID among those that
                      take calls; with none, new calls get 500 and OPTIONS to us 503
        checks        OPTIONS to each next hop: every seconds, 0 to 300 (0: none); misses, 1 to 10, in a row make it
                      unhealthy (2). Any final answer but 503 is a good one, and one good one makes it healthy again
        redress       where blocked callers complain: one of url, tel, email for 603+; id, up to 48 of A-Za-z0-9_-,
                      before the 16 hex digits that name the call; card_url, where the signed card of a 608 is fetched
        streams       limits of connections: idle_seconds (600), message_seconds (10, at most 30), handshake_seconds (5,
                      at most 5), per_source (64), total (1024)
        tls           PEM files: certificate, key, client_ca (set: mutual TLS); needed where listen has a tls: address,
                      read again by `configure`
        record_route  whether we stay in the path of a dialog (false)
        label         what stands before the display name of a labelled caller ("[Spam?]")
        bypass        forward everything unjudged (false)
        count_traffic whether `traffic` and `sketches` have something to tell (true)
    """

    def __new__(cls, live: StrPath, settings: str) -> Gateway: ...
    def start(self) -> list[str]:
        """Bind, start the threads, return the addresses bound, such as "udp:127.0.0.1:5060". OSError names one."""

    def configure(self, settings: str) -> None:
        """Take other settings over between two messages. Bad ones raise, change nothing; `listen` and `workers` stay.

        Next hops that are left out get no new calls; what is on course still reaches them.
        """

    def counters(self) -> dict[str, int]:
        """What happened since the gateway was made; `counter_meanings` says what each means. Numbers only grow."""

    def trunk_counters(self) -> dict[str, dict[str, int]]:
        """Of each trunk that is configured now, the counters that are kept per trunk; they outlive `configure`."""

    def watched(self) -> tuple[list[Sight], int]:
        """What became of each new call and message since it was last asked, and how many more there were.

        The first asking begins the watch. It costs time on every call: it is for trials."""

    def traffic(self, after: int = 0, watches: str | None = None) -> Traffic:
        """What was counted in the closed minutes after that one (minutes since 1970), and in those that are open.

        `watches` is a JSON list of all that is watched from now on, at most 4,096: {"id": a letter and up to 31 of
        A-Za-z0-9-_.:, "subject": "+77*" or a number, "except": subjects (at most 1,024), "trunks": names (none: all),
        "kinds": "call", "message" or "both"}. None changes nothing; a watch that is the same as before counts on, one
        that differs begins anew. ValueError names what is wrong, and then nothing changes.
        """

    def sketches(self, hour: int, after: int | None = None) -> Sketches:
        """Sketches of who called and who was called in an hour (hours since 1970): the running one, the two before.

        `after` is the `next` of the answer before, while there is one.
        """

    def next_hops(self) -> list[HopState]:
        """The next hops that are configured now, and whether they answer."""

    def card_signed(self, seconds: float) -> None:
        """The card of a 608 is good for so many seconds from now; without that, or later, a 608 is sent as 603."""

    def drain(self, hop: str | None = None) -> None:
        """Take the node out of service: OPTIONS gets 503, what still comes is served. Or a next hop: no new calls.

        Holds until `undrain`, over `configure` too. ValueError for a hop that isn't configured.
        """

    def undrain(self, hop: str | None = None) -> None:
        """Put it back into service. ValueError for a hop that the settings drain, or that isn't configured."""

    @property
    def drained(self) -> bool:
        """Whether the node itself is out of service."""

    def synthetic(self, trunk: str, numbers: Sequence[str]) -> list[tuple[str, int]]:
        """What a call from each number would get on a trunk: its final status, or 0 when no rule refuses it.

        A real INVITE in the trunk's dial plan goes through the workers' own code and list. It rings nobody, counts
        nowhere and is forgotten. ValueError for an unknown trunk or what is no number.
        """

    def stop(self, timeout: float = 2.0) -> None:
        """Stop all threads; RuntimeError when one did not end within `timeout` seconds. For good."""

@final
class Sketch:
    """How many different numbers there were, without any of them: a HyperLogLog of 2^14 registers.

    Equal when no union can tell them apart; then their bytes are equal too. ValueError for bytes that `to_bytes` does
    not write. Only sketches of one key (`Sketches`) may be united.
    """

    error: ClassVar[float]
    """The standard error of an estimate, relative to it: 0.0081. 95 % of all lie within 1.96 times that."""

    def __new__(cls, text: bytes | None = None) -> Sketch: ...
    def add(self, item: int) -> None:
        """Count an item, given as a hash of 64 random bits. Nodes do it by a keyed one; here it serves tests."""

    def merge(self, other: Sketch) -> None:
        """Become the sketch of both sets together, without loss, in whatever order and however often."""

    def estimate(self) -> float:
        """How many different items were counted, about. Right from none to billions (Ertl, arXiv:1702.01284)."""

    def to_bytes(self) -> bytes:
        """6 bytes and 3 for each register used, at most 12,292."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

TrafficRow: TypeAlias = tuple[int, str, str, int, int, int, int, int, int, int]
"""Minute since 1970, trunk, key, and the figures that `columns` names.

The key is the first four digits of the caller, "" where no number could be read, or the id of a watch."""

@type_check_only
class Lost(TypedDict):
    """What could not be counted since the process began, each for lack of room.

    Requests and what became of calls; counts of a minute with more than 32,768 rows; numbers of sketches, which have
    128 MiB; counts for watches, of which one request counts for at most 32."""

    records: int
    rows: int
    sketches: int
    watches: int

@type_check_only
class Traffic(TypedDict):
    """Counts of judged calls and messages by minute. `run` names these counters: another one counts from zero.

    `kept_from` is the first minute told; `began_ms` when the counters began, which may be within it; `closed_to` the
    last closed minute, which changes no more. A minute without rows had no traffic. `open` is what is not closed yet,
    empty while `next` tells where to go on. `watching` has the watches' ids, and since when (Unix ms) each counts.
    """

    run: str
    began_ms: int
    kept_from: int
    closed_to: int
    columns: list[str]
    rows: list[TrafficRow]
    open: list[TrafficRow]
    next: int | None
    watching: dict[str, int]
    lost: Lost

@type_check_only
class Sketches(TypedDict):
    """Trunk, key, and the `Sketch` bytes of callers and callees in one hour.

    `key` tells by which key numbers were hashed: unions of different ones count a number twice. `kept_from` is the
    first hour told, `open` whether this one may still change."""

    run: str
    key: str
    kept_from: int
    open: bool
    sketches: list[tuple[str, str, bytes, bytes]]
    next: int | None
    lost: Lost

@type_check_only
class Sight(TypedDict):
    """One new call or message of a trunk: `trunk` is its key, `callers` the numbers that it says it comes from.

    `rule` is what refused or labelled it: action and subject. `answer` is the status and reason phrase that it got,
    `to` the address that it went on to; neither: dropped."""

    at_ms: int
    kind: Literal["call", "message"]
    trunk: int
    callers: list[str]
    rule: tuple[str, str] | None
    answer: str | None
    to: str | None

@type_check_only
class HopState(TypedDict):
    """A next hop as the gateway knows it: `misses` counts checks in a row without a good answer."""

    name: str
    address: str
    healthy: bool
    misses: int
    drain: bool

@type_check_only
class MessageReading(TypedDict):
    """How a message is read: `kind` is None for what is never judged, `fault` is the refusal of a malformed one.

    `dropped` is what gets no answer at all, `protected` goes to a protected number and passes."""

    kind: Literal["call", "message"] | None
    dropped: bool
    protected: bool
    fault: tuple[int, str] | None
    identities: list[tuple[str, bool]]
    unreadable: int
    steps: list[str]

@type_check_only
class NumberReading(TypedDict):
    """How digits are read: `number` is None for what is not E.164 in the plan."""

    number: str | None
    steps: list[str]

def read_message(
    raw: bytes, plan: str, trusted: bool, rpid: bool = False, protected: Sequence[str] = ..., plans: str = "[]"
) -> MessageReading:
    """Who a message says it comes from, step by step; ValueError for an unknown plan. `plans` as in `read_number`."""

def read_number(text: str, plan: str, plans: str = "[]") -> NumberReading:
    """What a text means on a trunk of that plan, step by step; ValueError for an unknown plan.

    `plans` is a JSON list of plans of one's own, as in a gateway's settings."""

def counter_meanings() -> dict[str, str]:
    """What each counter of a gateway counts, in a sentence."""
