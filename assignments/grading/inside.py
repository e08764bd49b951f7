"""Runs inside the sandbox: take the limits on, give root up, become the program.

Stands alone (only the standard library): it is the one file of this package that a
submission can see.
"""

import json
import os
import resource
import sys

MEBI = 1 << 20


def limit(limits: dict) -> None:
    """Limits that the kernel of the system keeps, for this process and its children."""
    for name, value in {
        resource.RLIMIT_DATA: limits["data"] * MEBI,
        resource.RLIMIT_FSIZE: limits["file"] * MEBI,
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_CORE: 0,
    }.items():
        resource.setrlimit(name, (value, value))


def give_root_up(user: int) -> None:
    """The limit on processes does not bind root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


if __name__ == "__main__":
    limit(json.loads(sys.argv[1]))
    give_root_up(int(sys.argv[2]))
    os.nice(10)
    os.execv(sys.argv[3], sys.argv[3:])
