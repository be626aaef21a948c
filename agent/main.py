"""The `palang` command. The gateway starts without the command line's libraries: they cost more time than its start."""

import sys


def main() -> None:
    """Run one command; the exit code says what came of it (0 done, 1 refused or failed, 2 unusable or unreachable)."""
    if sys.argv[1:2] == ["gateway"]:
        from agent.gateway import main as gateway

        sys.exit(gateway(sys.argv[2:]))
    from agent.cli.app import app

    app()


if __name__ == "__main__":
    main()
