"""A link of its own between two network namespaces, for what loopback can't show. It needs root."""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ctypes import CDLL, get_errno
from pathlib import Path
from typing import TypeVar

GATEWAY_SIDE = ("192.0.2.1", "2001:db8::1")
PEER_SIDE = ("192.0.2.2", "2001:db8::2")
_CLONE_NEWNET = 0x40000000
T = TypeVar("T")


class Link:
    """Two ends, each in its namespace: `gateway` and `peer`."""

    def __init__(self) -> None:
        self.gateway, self.peer = (f"palang-{os.getpid()}-{end}" for end in ("gateway", "peer"))

    @staticmethod
    def inside(namespace: str, act: Callable[[], T]) -> T:
        """What `act` returns, done in that namespace; sockets and threads that it makes stay there."""

        def there() -> T:
            libc = CDLL(None, use_errno=True)
            with Path(f"/run/netns/{namespace}").open() as handle:
                if libc.setns(handle.fileno(), _CLONE_NEWNET):
                    raise OSError(get_errno(), f"setns to {namespace}")
            return act()

        with ThreadPoolExecutor(1) as thread:  # Only this thread changes its namespace, and it ends here.
            return thread.submit(there).result()


@contextmanager
def link(mtu: int) -> Iterator[Link]:
    """A veth pair with that MTU and an address of each family at both ends."""
    assert os.geteuid() == 0, "this test makes network namespaces, and only root can: run it as root"
    made = Link()
    try:
        for namespace in (made.gateway, made.peer):
            _ip("netns", "add", namespace)
        _ip(*f"-n {made.gateway} link add end mtu {mtu} type veth peer name end mtu {mtu} netns {made.peer}".split())
        for namespace, addresses in ((made.gateway, GATEWAY_SIDE), (made.peer, PEER_SIDE)):
            _ip(*f"-n {namespace} address add {addresses[0]}/24 dev end".split())
            _ip(*f"-n {namespace} address add {addresses[1]}/64 dev end nodad".split())
            _ip(*f"-n {namespace} link set end up".split())
        yield made
    finally:
        for namespace in (made.gateway, made.peer):
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"
