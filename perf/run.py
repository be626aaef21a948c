"""All figures that the README quotes, one after another, as one JSON object: `make bench`."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import list_bench
import orders_bench
import reject_bench


def main() -> None:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(dir=memory) as live, tempfile.TemporaryDirectory() as state:
        figures["list"] = list_bench.measure(1_000_000, Path(live), Path(state))
    _say("the list is measured; rejected calls next")
    figures["reject"] = reject_bench.measure(200_000, 256, 1_000_000)
    _say("rejected calls are measured; orders next, some two minutes")
    figures["orders"] = asyncio.run(orders_bench.measure(1_000, 10.0))
    print(json.dumps(figures, indent=2))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
