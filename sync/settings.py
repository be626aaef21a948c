"""The settings of the conversation with the regulator: who we are, what the gate holds, where the ledger lies.

The broker's rows stand in sync/mqtt.py, the outbox's sending and the publisher's beside their code.
"""

from pathlib import Path

from pydantic import Field

from config import Section
from sync.codes import Code


class ContractSettings(Section):
    """The contract with the regulator: names, keys and limits."""

    operator: str = Field(
        "operator",
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}$",
        description="Our id in the contract; messages for another id are refused.",
    )
    signing_key: Path = Field(
        Path("keys/operator.jwk"), description="Our private Ed25519 key (JWK, mode 0600); it signs confirmations."
    )
    regulator_keys: tuple[Path, ...] = Field(
        (Path("keys/regulator.pub.jwk"),), description="The regulator's public keys (JWK); several while keys rotate."
    )
    revoked_keys: tuple[str, ...] = Field(
        (), description="Key ids that are refused at once, even where a key file of theirs is still listed."
    )
    max_message_bytes: int = Field(
        4_194_304, ge=4096, le=67_108_864, description="Longest message that is read; longer ones are refused."
    )
    max_depth: int = Field(8, ge=4, le=64, description="Deepest nesting of JSON that is read.")


class GateSettings(Section):
    """The gate: which orders are refused, and which are held for a person."""

    emergency: tuple[str, ...] = Field(
        ("110", "112", "113", "115", "118", "119", "911"),
        description="Emergency numbers, in digits; refused always, bare and behind a home country code.",
    )
    home_countries: tuple[str, ...] = Field(
        ("62",), description="Our own country codes; a prefix order that lies inside or over one is held."
    )
    protected: tuple[str, ...] = Field(
        (), description="Subjects (+622150000000, +6221500*) that an order may touch only after a person approved it."
    )
    min_prefix_digits: int = Field(
        2, ge=2, le=14, description="Shortest prefix that is accepted at all, in digits with the country code."
    )
    hold_prefix_digits: int = Field(
        3, ge=0, le=14, description="A regulator's prefix order of at most so many digits is held for a person."
    )
    second_person: tuple[Code, ...] = Field(
        (Code.PREFIX_TOO_WIDE, Code.PROTECTED_NUMBER),
        description="Codes of the gate whose held orders take effect only after a second person approved them too.",
    )
    burst_factor: int = Field(
        5, ge=1, description="Orders within an hour above this many times the 30-day maximum are held."
    )
    burst_floor: int = Field(
        200, ge=1, description="Orders within an hour that are never a burst; lists with a signed count are exempt."
    )


class LedgerSettings(Section):
    """The ledger: the SQL database that is the truth."""

    path: Path = Field(Path("ledger.sqlite"), description="The ledger's file; its write-ahead log lies beside it.")
    rule_days: int = Field(
        7, ge=1, le=30, description="Days after which a NOC rule ends unless its author says otherwise."
    )
    max_rule_days: int = Field(30, ge=1, le=30, description="Most days that a NOC rule may be given.")
    shadow_days: int = Field(
        7, ge=1, le=30, description="Days that a NOC rule stays in shadow, also after its enforcement has ended."
    )
    second_person_hours: int = Field(
        24, ge=1, le=168, description="Hours after which a request that waits for a second person lapses."
    )
    resend_first_s: float = Field(
        5.0, gt=0, description="Seconds until a confirmation without receipt is sent again, doubled each time."
    )
    resend_cap_s: float = Field(900.0, gt=0, description="Longest wait between two sendings of a confirmation.")
    checkpoint_records: int = Field(
        256, ge=1, description="Journal records between two signed checkpoints of its hash chain."
    )
    unsigned_outbox: int = Field(
        1_000, ge=0, description="Most unanswered refusals of unauthentic messages kept for sending; more are counted."
    )
