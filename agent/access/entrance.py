"""The entrance: signing in and out, enrolling, showing the second factor again, and tokens for programs.

Whoever asks wrongly gets one answer, after one and the same work: whether the name exists is not told. Every act is in
the journal in the transaction that does it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.access import secrets
from agent.access.roles import Permission, Role
from agent.access.secrets import Passwords, digest, step_of
from agent.access.throttle import Throttle
from agent.access.viewer import NotSignedIn, Viewer
from agent.ledger_thread import LedgerThread
from agent.settings_access import AccessSettings
from sync.ledger import Ledger, LedgerError, PersonView, SessionView, TokenView

_WRONG = "name, password or code is wrong, or may not come in"
_SEEN_EVERY = timedelta(seconds=60)
_LOUD_EVERY = 10
"""So many failures in a row are an alarm, and so many more again."""


@dataclass(frozen=True, repr=False)
class SignedIn:
    """A new session, and the cookie that only its browser has."""

    cookie: str
    session: SessionView


@dataclass(frozen=True, repr=False)
class Enrolment:
    """What a person needs once, to make their second factor."""

    name: str
    key: str
    uri: str


class Entrance:
    """The one place where secrets are looked at."""

    def __init__(
        self,
        ledger: LedgerThread,
        settings: AccessSettings,
        passwords: Passwords | None = None,
        alarm: Callable[[str], object] = lambda text: None,
    ) -> None:
        """`alarm` is told, in a line without names, when somebody fails again and again."""
        self.settings = settings
        self._ledger = ledger
        self._passwords = passwords or Passwords()
        self._throttle = Throttle()
        self.alarm = alarm
        self.idle = timedelta(minutes=settings.idle_minutes)

    # --- sessions

    async def sign_in(self, name: str, password: str, code: str, address: str | None, now: datetime) -> SignedIn:
        """Begin a session. Raises NotSignedIn with the same words whatever was wrong, and TooOften."""
        before = self._throttle.attempt(name, address, now)
        known = await self._ledger.read(Ledger.secrets, name)
        right = await self._passwords.matches(known.password if known else None, password)
        step = step_of(known.totp if known else _NOBODYS_KEY, code, now, known.step if known else 0)
        cookie = secrets.new_word()
        if known and right and step is not None:
            ends = now + timedelta(minutes=self.settings.session_minutes)
            try:
                session = await self._ledger.change(
                    Ledger.begin_session, name, digest(cookie), secrets.new_word(), ends, step, address, now
                )
            except LedgerError:  # the same code twice at once, or disabled in this moment
                await self._failed(name if known else None, address, before, now)
            else:
                self._throttle.succeeded(name, address)
                return SignedIn(cookie, session)
        else:
            await self._failed(name if known else None, address, before, now)
        raise NotSignedIn(_WRONG)

    async def session(self, cookie: str, now: datetime) -> SessionView | None:
        """The session of this cookie, while it holds."""
        found = await self._ledger.read(Ledger.session, digest(cookie), now, self.idle)
        if found and now - found.seen_at >= _SEEN_EVERY:
            await self._ledger.read(Ledger.session_seen, found.id, now)
        return found

    async def sign_out(self, session: str, now: datetime) -> None:
        """End a session."""
        await self._ledger.change(Ledger.end_session, session, "signed out", now)

    async def step_up(self, viewer: Viewer, code: str, address: str | None, now: datetime) -> SessionView:
        """Show the second factor again. Raises NotSignedIn where there is no session, Wrong, TooOften."""
        step = await self._code(viewer, code, address, now)
        until = now + timedelta(minutes=self.settings.step_up_minutes)
        return await self._ledger.change(Ledger.step_up, self._session(viewer), step, until, now)

    async def change_password(
        self, viewer: Viewer, old: str, new: str, code: str, address: str | None, now: datetime
    ) -> PersonView:
        """Replace one's own password; all one's sessions end. Raises Wrong, TooOften, ValueError for a poor one."""
        self._session(viewer)
        secrets.check_password(new, viewer.name)
        again = _AGAIN + viewer.name
        before = self._throttle.attempt(again, address, now)
        known = await self._ledger.read(Ledger.secrets, viewer.name)
        right = await self._passwords.matches(known.password if known else None, old)
        step = step_of(known.totp, code, now, known.step) if known else None
        if not right or step is None:
            await self._failed(viewer.name, address, before, now)
            raise Wrong("the old password or the code is wrong")
        kept = await self._passwords.hash(new)
        changed = await self._ledger.change(Ledger.set_password, viewer.name, kept, step, now)
        self._throttle.succeeded(again, address)
        return changed

    # --- people

    async def invite(
        self, name: str, display: str, roles: frozenset[Role], actor: str, reason: str, now: datetime
    ) -> tuple[PersonView, str]:
        """Add a person; the answer has the invitation's word, which is told once. Raises LedgerError."""
        word, ends = secrets.new_word(), now + timedelta(hours=self.settings.invitation_hours)
        roles_text = [str(role) for role in roles]
        person = await self._ledger.change(
            Ledger.invite, name, display, roles_text, digest(word), ends, actor, reason, now
        )
        return person, word

    async def invite_again(
        self, name: str, actor: str, reason: str, now: datetime, expected: int | None
    ) -> tuple[PersonView, str]:
        """Take a person's password and second factor away and invite them anew, likewise."""
        word, ends = secrets.new_word(), now + timedelta(hours=self.settings.invitation_hours)
        person = await self._ledger.change(Ledger.invite_again, name, digest(word), ends, actor, reason, now, expected)
        return person, word

    async def enrol(self, word: str, password: str, address: str | None, now: datetime) -> Enrolment:
        """Set an invited person's password, give them a second factor. Raises NotSignedIn, ValueError, TooOften."""
        self._throttle.attempt(None, address, now)
        name = await self._ledger.read(Ledger.invited, digest(word), now)
        if name is None:
            raise NotSignedIn(_NO_INVITATION)
        secrets.check_password(password, name)
        key = secrets.new_second_factor()
        await self._ledger.change(Ledger.enrol, digest(word), await self._passwords.hash(password), key, now)
        self._throttle.succeeded(None, address)
        return Enrolment(name, key, secrets.second_factor_uri(key, name))

    async def confirm(self, word: str, code: str, address: str | None, now: datetime) -> PersonView:
        """Use an invitation up, with a code of the new second factor. Raises NotSignedIn, Wrong, TooOften."""
        self._throttle.attempt(None, address, now)
        known = await self._ledger.read(Ledger.enrolling, digest(word), now)
        if known is None:
            raise NotSignedIn(_NO_INVITATION)
        step = step_of(known.totp, code, now, known.step)
        if step is None:
            raise Wrong("the code is wrong; wait for the next one, and look at the phone's clock")
        person = await self._ledger.change(Ledger.confirm, digest(word), step, now)
        self._throttle.succeeded(None, address)
        return person

    # --- programs

    async def make_token(
        self, person: str, name: str, scopes: frozenset[Permission], expires: datetime, actor: str, now: datetime
    ) -> tuple[TokenView, str]:
        """Give a person a token; the answer has it, and is told once. Raises LedgerError."""
        token = secrets.new_token()
        scopes_text = [str(scope) for scope in scopes]
        made = await self._ledger.change(
            Ledger.make_token, person, name, digest(token), scopes_text, expires, actor, now
        )
        return made, token

    async def holder(self, token: str, now: datetime) -> Viewer | None:
        """Who comes with this token, narrowed to its scopes, while it holds."""
        found = await self._ledger.read(Ledger.token, digest(token), now)
        if found is None:
            return None
        if found.token.used_at is None or now - found.token.used_at >= _SEEN_EVERY:
            await self._ledger.read(Ledger.token_used, found.token.id, now)
        scopes = frozenset(map(Permission, found.token.scopes))
        return Viewer.of(found.token.person, roles_of(found.roles), "token", scopes=scopes)

    def _session(self, viewer: Viewer) -> str:
        if viewer.session is None:
            raise NotSignedIn("this needs a session: sign in")
        return viewer.session

    async def _code(self, viewer: Viewer, code: str, address: str | None, now: datetime) -> int:
        self._session(viewer)
        again = _AGAIN + viewer.name
        before = self._throttle.attempt(again, address, now)
        known = await self._ledger.read(Ledger.secrets, viewer.name)
        step = step_of(known.totp, code, now, known.step) if known else None
        if step is None:
            await self._failed(viewer.name, address, before, now)
            raise Wrong("the code is wrong or was used; wait for the next one")
        self._throttle.succeeded(again, address)
        return step

    async def _failed(self, name: str | None, address: str | None, before: int, now: datetime) -> None:
        # A name that is none may be a password that was typed into the wrong field: it is not kept.
        body = {} if address is None else {"address": address}
        await self._ledger.change(Ledger.record, "session.refused", "unknown", name, body, now)
        if (before + 1) % _LOUD_EVERY == 0:
            self.alarm(f"{before + 1} attempts to sign in have failed in a row")


class Wrong(NotSignedIn):
    """A code or password that was asked for again is not the right one; the session goes on."""


def roles_of(texts: tuple[str, ...]) -> frozenset[Role]:
    """Roles as the ledger keeps them."""
    return frozenset(map(Role, texts))


_AGAIN = "again "
"""Before the name, where somebody is signed in: a stranger's attempts are no reason for them to wait."""
_NOBODYS_KEY = secrets.new_second_factor()
_NO_INVITATION = "this invitation is unknown, used or has ended; ask for a new one"
