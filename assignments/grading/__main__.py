"""Release assignments and grade them: ``python -m grading <command>``."""

import sys

from . import interrupts


def main() -> int:
    """Do what the command line says; return the exit status."""
    try:
        interrupts.listen()
        if sys.stdout:  # which may be closed, or a terminal that cannot write all names
            sys.stdout.reconfigure(errors="backslashreplace")
        from .commands import main  # takes seconds, in which Ctrl-C is heard already

        return main()
    except KeyboardInterrupt:
        print("interrupted; nothing graded so far is lost, repeat to go on", file=sys.stderr)
        return interrupts.exit_status()


if __name__ == "__main__":
    sys.exit(main())
