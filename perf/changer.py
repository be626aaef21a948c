"""Changes the list as fast as its writer can: `changer.py LIVE STATE`; 1,000 changes a revision.

It takes numbers in and out again that nobody calls from, says when it begins, and at the end of stdin how many changes
were applied: one revision at least, however short the run.
"""

import select
import sys

from sip_filter import Writer, list_digest


def main() -> None:
    writer = Writer(*sys.argv[1:])
    entries = [f"+1202555{value:04}\torder reject enforce both" for value in range(1_000)]
    gone = [f"{entry.partition(chr(9))[0]}\t" for entry in entries]
    without = int(writer.digest, 16)
    digests = [f"{(without + int(list_digest(entries), 16)) % 2**128:032x}", writer.digest]
    epoch, first = writer.revision
    print("changing", flush=True)
    n = first
    while True:
        turn = (n - first) % 2
        n += 1
        writer.apply(epoch, n, gone if turn else entries, digests[turn], 0)
        if select.select([sys.stdin], [], [], 0)[0]:
            break
    print((n - first) * 1_000, flush=True)
    if (n - first) % 2:
        writer.apply(epoch, n + 1, gone, digests[1], 0)
    writer.close()


if __name__ == "__main__":
    main()
