"""Kamailio asks Palang's hook about each new call and short message (app_python3, KEMI).

Loaded by `palang.cfg`; everything that differs from site to site stands in `palang.toml` beside this file. A trunk's
requests go to the next hop, the next hop's go to a trunk, and nothing goes anywhere else. Whatever fails in here lets
the call go on: a filter must never be the reason that the network is down.
"""

import site
import tomllib
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import KSR  # type: ignore[import-not-found]  # Kamailio brings it.

if TYPE_CHECKING:
    from sip_filter import Hook

SETTINGS = Path(__file__).with_name("palang.toml")
REASON = 'Reason: Q.850;cause=21;text="Call rejected"\r\n'


def mod_init() -> "Switch":
    """Kamailio's call, before it forks. An error in the settings ends it here, with its reason."""
    return Switch(tomllib.loads(SETTINGS.read_text(encoding="utf-8")))


class Switch:
    """The routes of a stateless proxy between trunks and one next hop."""

    def __init__(self, settings: dict[str, Any]) -> None:
        site.addsitedir(settings["site"])
        from sip_filter import Hook  # Only now is it in reach.

        self._next_hop = settings["next_hop"]
        self._hop_address = self._next_hop.removeprefix("sip:").rpartition(":")[0]
        self._trunks = []
        for row in settings["trunks"]:
            networks = [ip_network(source) for source in row.pop("sources")]
            hook = Hook(settings["live"], row.pop("name"), protected=settings["protected"], **row)
            self._trunks += [(network, hook) for network in networks]
        # Peers are few, and reading an address anew costs more than deciding; strangers push each other out.
        self._hook_of = lru_cache(maxsize=1024)(self._trunk_of)

    def child_init(self, rank: int) -> int:
        return 0

    def ksr_request_route(self, msg: object) -> int:
        source = KSR.pv.get("$si")
        hook = self._hook_of(source)
        if hook is None and source != self._hop_address:
            return 1  # An answer to strangers would serve scanners.
        if KSR.maxfwd.process_maxfwd(70) < 0:
            KSR.sl.sl_send_reply(483, "Too Many Hops")
            return 1
        if hook is None:
            if self._hook_of(KSR.pv.get("$rd")) is not None:
                KSR.forward()
            return 1
        status = refusal(hook)
        if status is None:
            KSR.forward_uri(self._next_hop)
            return 1
        if status[0] == 603:
            KSR.hdr.append_to_reply(REASON)
        KSR.sl.sl_send_reply(*status)
        return 1

    def ksr_reply_route(self, msg: object) -> int:
        return 1  # Responses go back by their Via.

    def ksr_onsend_route(self, msg: object) -> int:
        return 1  # Kamailio 5.6 asks for it whenever it forwards.

    def _trunk_of(self, address: str) -> "Hook | None":
        try:
            found = ip_address(address)
        except ValueError:
            return None
        return next((hook for network, hook in self._trunks if found in network), None)


def refusal(hook: "Hook") -> tuple[int, str] | None:
    """The response that the request should get, as (code, phrase); None when it should go on."""
    try:
        try:
            raw = KSR.pv.get("$mb")
        except UnicodeDecodeError:  # Kamailio hands texts to Python; a body of bytes (an SMS) needs the way round.
            raw = bytes.fromhex(KSR.pv.get("$(mb{s.encode.hexa})"))
        return hook.refusal(raw)
    except Exception as error:  # noqa: BLE001
        KSR.err(f"palang: not judged: {type(error).__name__}\n")
        return None
