"""`palang completion`: the lines that make a shell complete our commands and options."""

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]


class Shell(StrEnum):
    """A shell whose completion we speak."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the completion of a shell, for its start file: palang completion bash > ~/.bash_completion."""
    script = get_completion_script(prog_name="palang", complete_var="_PALANG_COMPLETE", shell=shell)
    print(script)  # noqa: T201
