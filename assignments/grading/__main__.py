"""The command line: ``python -m grading <command>``."""

import argparse
import sys
from pathlib import Path

from .check import check_master
from .leaks import all_masters, find_leaks
from .masters import master_names, read_master


def check(arguments: argparse.Namespace) -> int:
    """Each master earns all its points, each untouched notebook none."""
    wrong = []
    for name in arguments.assignments or master_names():
        wrong += check_master(read_master(name))
    print(*wrong, sep="\n")
    return bool(wrong)


def leaks(arguments: argparse.Namespace) -> int:
    """No solution or hidden test stands in the given files and folders."""
    found = find_leaks(arguments.places, all_masters())
    print(*found, f"{len(found)} leaks", sep="\n")
    return bool(found)


def main() -> int:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(prog="grading", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("check", help=check.__doc__)
    command.add_argument("assignments", nargs="*", help="default: all")
    command.set_defaults(do=check)
    command = commands.add_parser("leaks", help=leaks.__doc__)
    command.add_argument("places", nargs="+", type=Path)
    command.set_defaults(do=leaks)
    arguments = parser.parse_args()
    return arguments.do(arguments)


if __name__ == "__main__":
    sys.exit(main())
