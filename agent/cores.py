"""No core dumps: a process that dies must not leave the numbers that it held on a disk."""

import resource


def none() -> None:
    """Forbid core files to this process and to all that it starts, for good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
