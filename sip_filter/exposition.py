"""Figures for Prometheus: a table of metrics, and the text that a scrape gets (exposition format 0.0.4).

A metric is a row; docs/metrics.md is written from the rows, and a test scrapes real processes to hold both equal.
Label values are names from the settings and fixed words, never a number that somebody called from.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One row: a counter's name ends in _total; units are seconds and bytes."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


Samples = Mapping[tuple[str, ...], float]
"""Values by the values of the labels, in the row's order. A row without labels has the one key ()."""


def expose(rows: Iterable[Metric], found: Mapping[str, Samples]) -> str:
    """The text of a scrape. A row without samples keeps its head; samples without a row are a fault: KeyError."""
    known = {row.name: row for row in rows}
    if strangers := found.keys() - known.keys():
        raise KeyError(f"no row for {', '.join(sorted(strangers))}")
    return "".join(_family(row, found.get(row.name, {})) for row in known.values())


def one(value: float | None) -> Samples:
    """The samples of a row without labels; none when the value is not known."""
    return {} if value is None else {(): float(value)}


PROCESS: Final = (
    Metric("process_cpu_seconds_total", "counter", "Processor time of the process, user and system."),
    Metric("process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM."),
    Metric("process_virtual_memory_bytes", "gauge", "Address space of the process."),
    Metric("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970."),
    Metric("process_open_fds", "gauge", "Open file descriptors."),
    Metric("process_max_fds", "gauge", "The most file descriptors that it may open."),
    Metric("process_threads", "gauge", "Threads of the process."),
)
"""What any process says of itself, by the names that Prometheus' own libraries use."""


def process() -> dict[str, Samples]:
    """The figures of this process, from /proc (proc(5))."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    boot = time.time() - float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return {
        "process_cpu_seconds_total": one((int(fields[11]) + int(fields[12])) / ticks),
        "process_resident_memory_bytes": one(int(fields[21]) * page),
        "process_virtual_memory_bytes": one(int(fields[20])),
        "process_start_time_seconds": one(round(boot + int(fields[19]) / ticks, 2)),
        "process_open_fds": one(len(os.listdir("/proc/self/fd"))),
        "process_max_fds": one(_most_files()),
        "process_threads": one(int(fields[17])),
    }


def _most_files() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _family(row: Metric, samples: Samples) -> str:
    head = f"# HELP {row.name} {_escaped(row.help)}\n# TYPE {row.name} {row.kind}\n"
    return head + "".join(_lines(row, samples))


def _lines(row: Metric, samples: Samples) -> Iterator[str]:
    for values, value in samples.items():
        yield f"{row.name}{_labels(row.labels, values)} {_number(value)}\n"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_quoted(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
