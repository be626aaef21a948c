"""Palang's gateway as a process of its own: `palang_server.py LIVE SETTINGS`; prints its addresses, ends with stdin."""

import json
import sys

from sip_filter._core import Gateway


def main() -> None:
    live, settings = sys.argv[1:]
    gateway = Gateway(live, settings)
    print(json.dumps(gateway.start()), flush=True)
    sys.stdin.read()
    gateway.stop()


if __name__ == "__main__":
    main()
