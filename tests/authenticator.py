"""A person's phone, as the agent knows it from its codes."""

import time

import pyotp

_STEP_S = 30
_SURE_S = 5
"""So long a code is surely taken, on a busy machine too: none is made that is about to be too old."""


class Authenticator:
    """Each code is of another time step, as one code opens one door; a phone's clock may be slow, right, or fast."""

    def __init__(self, key: str) -> None:
        self._totp = pyotp.TOTP(key)
        self.step = 0
        """The newest that was used."""

    def code(self) -> str:
        """One that was not used; after three in half a minute this waits until the next is taken."""
        oldest = int(time.time() + _SURE_S) // _STEP_S - 1
        self.step = max(oldest, self.step + 1)
        time.sleep(max(0.0, (self.step - 1) * _STEP_S - time.time()))
        return self._totp.generate_otp(self.step)

    def skip(self) -> int:
        """A step that was not used, whatever the time is."""
        self.step += 1
        return self.step
