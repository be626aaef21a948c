"""Who may come in, and what became of their requests."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sync.ledger import people, replies, sessions, tokens
from sync.ledger.parts.part import Part
from sync.ledger.people import PersonView, Secrets
from sync.ledger.replies import Reply
from sync.ledger.sessions import SessionView
from sync.ledger.tokens import TokenHolder, TokenView
from sync.ledger.transaction import to_ms


class Access(Part):
    """People, their sessions and tokens, and the replies kept for idempotency keys."""

    def invite(
        self,
        name: str,
        display: str,
        roles: Sequence[str],
        word: str,
        ends: datetime,
        actor: str,
        reason: str,
        now: datetime,
    ) -> PersonView:
        """Add a person; `word` is the SHA-256 of the invitation with which they set password and second factor."""
        with self._change(now) as tx:
            return people.invite(tx, name, display, roles, word, ends, actor, reason)

    def invite_again(
        self, name: str, word: str, ends: datetime, actor: str, reason: str, now: datetime, expected: int | None = None
    ) -> PersonView:
        """Take a person's password, second factor, sessions and tokens away, and invite them anew."""
        with self._change(now) as tx:
            return people.invite_again(tx, name, word, ends, actor, reason, expected)

    def set_roles(
        self, name: str, roles: Sequence[str], actor: str, reason: str, now: datetime, expected: int | None = None
    ) -> PersonView:
        """Give a person these roles and no others; their sessions end."""
        with self._change(now) as tx:
            return people.set_roles(tx, name, roles, actor, reason, expected)

    def disable(self, name: str, actor: str, reason: str, now: datetime, expected: int | None = None) -> PersonView:
        """Keep a person out; sessions and tokens end."""
        with self._change(now) as tx:
            return people.disable(tx, name, actor, reason, expected)

    def enable(self, name: str, actor: str, reason: str, now: datetime, expected: int | None = None) -> PersonView:
        """Let a person in again."""
        with self._change(now) as tx:
            return people.enable(tx, name, actor, reason, expected)

    def people(self, after: str = "", limit: int = 100) -> list[PersonView]:
        """People in the order of their names, from behind `after`."""
        with self._house.store.read() as connection:
            return people.listed(connection, after, limit)

    def person(self, name: str) -> PersonView:
        """One person."""
        with self._house.store.read() as connection:
            return people.get(connection, name)

    def invited(self, word: str, now: datetime) -> str | None:
        """Whose invitation this is, while it holds."""
        with self._house.store.read() as connection:
            return people.invited(connection, word, to_ms(now))

    def enrol(self, word: str, password: str, totp: str, now: datetime) -> PersonView:
        """Keep an invited person's password hash and second factor's key until a code confirms them."""
        with self._change(now) as tx:
            return people.enrol(tx, word, password, totp)

    def enrolling(self, word: str, now: datetime) -> Secrets | None:
        """What the code that confirms an enrolment is held against."""
        with self._house.store.read() as connection:
            return people.enrolling(connection, word, to_ms(now))

    def confirm(self, word: str, step: int, now: datetime) -> PersonView:
        """End an enrolment: the person may sign in."""
        with self._change(now) as tx:
            return people.confirm(tx, word, step)

    def secrets(self, name: str) -> Secrets | None:
        """What signing in is held against; None for who can't."""
        with self._house.store.read() as connection:
            return people.secrets(connection, name)

    def set_password(self, name: str, password: str, step: int, now: datetime) -> PersonView:
        """Replace a person's own password; all their sessions end."""
        with self._change(now) as tx:
            return people.set_password(tx, name, password, step)

    def begin_session(
        self, person: str, session: str, csrf: str, ends: datetime, step: int, address: str | None, now: datetime
    ) -> SessionView:
        """Sign a person in; `session` is the SHA-256 of the cookie."""
        with self._change(now) as tx:
            return sessions.begin(tx, person, session, csrf, ends, step, address)

    def session(self, session: str, now: datetime, idle: timedelta) -> SessionView | None:
        """The session, while it holds."""
        with self._house.store.read() as connection:
            return sessions.find(connection, session, now, idle)

    def session_seen(self, session: str, now: datetime) -> None:
        """Note that a session is in use."""
        with self._change(now) as tx:
            sessions.seen(tx, session)

    def step_up(self, session: str, step: int, until: datetime, now: datetime) -> SessionView:
        """Note that a session's person has shown the second factor again."""
        with self._change(now) as tx:
            return sessions.step_up(tx, session, step, until)

    def end_session(self, session: str, why: str, now: datetime) -> None:
        """End one session."""
        with self._change(now) as tx:
            sessions.end(tx, session, why)

    def make_token(
        self, person: str, name: str, secret: str, scopes: Sequence[str], expires: datetime, actor: str, now: datetime
    ) -> TokenView:
        """Give a person a token; `secret` is its SHA-256."""
        with self._change(now) as tx:
            return tokens.make(tx, person, name, secret, scopes, expires, actor)

    def token(self, secret: str, now: datetime) -> TokenHolder | None:
        """The token of this SHA-256, while it holds."""
        with self._house.store.read() as connection:
            return tokens.find(connection, secret, now)

    def token_used(self, token: int, now: datetime) -> None:
        """Note that a token is in use."""
        with self._change(now) as tx:
            tokens.used(tx, token)

    def tokens(self, person: str | None = None, after: int | None = None, limit: int = 100) -> list[TokenView]:
        """Live tokens, the newest first; with `person` only theirs."""
        with self._house.store.read() as connection:
            return tokens.listed(connection, person, after, limit)

    def end_token(self, token: int, actor: str, now: datetime, owner: str | None = None) -> TokenView:
        """End a token; with `owner`, only one of theirs."""
        with self._change(now) as tx:
            return tokens.end(tx, token, actor, owner)

    def take_key(self, actor: str, key: str, request: str, now: datetime) -> Reply:
        """Take an idempotency key for a request, or say what came of the first that used it."""
        with self._change(now) as tx:
            return replies.take(tx, actor, key, request)

    def keep_reply(self, actor: str, key: str, status: int, body: str | None, now: datetime) -> None:
        """Keep what a request with a key was told."""
        with self._change(now) as tx:
            replies.keep(tx, actor, key, status, body)

    def forget_key(self, actor: str, key: str, now: datetime) -> None:
        """Give a key back under which nothing was done."""
        with self._change(now) as tx:
            replies.forget(tx, actor, key)
