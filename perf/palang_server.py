"""Palang's gateway as a process of its own: `palang_server.py LIVE SETTINGS`.

It prints its addresses, then its counters for each line of stdin, and ends with that; both as JSON.
"""

import json
import sys

from sip_filter._core import Gateway


def main() -> None:
    live, settings = sys.argv[1:]
    gateway = Gateway(live, settings)
    print(json.dumps(gateway.start()), flush=True)
    for _ in sys.stdin:
        print(json.dumps(gateway.counters()), flush=True)
    gateway.stop()


if __name__ == "__main__":
    main()
