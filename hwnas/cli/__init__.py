"""The `hwnas` command: one subcommand a verb."""

from hwnas.cli.commands import main

__all__ = ["main"]
