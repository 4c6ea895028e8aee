"""`ringgate version`: what runs here, for bug reports."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata

from .parser import Commands, add_command


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(commands, "version", "print the versions of ringgate, Python and uvloop")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each."""
    del arguments
    print(f"ringgate  {ringgate_version()}")
    print(f"python    {platform.python_version()} ({platform.python_implementation()})")
    print(f"uvloop    {_version_of('uvloop')}")
    print(f"platform  {platform.platform()}")
    return 0


def ringgate_version() -> str:
    """Return the version of the installed distribution."""
    return _version_of("ringgate")


def _version_of(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed)"
