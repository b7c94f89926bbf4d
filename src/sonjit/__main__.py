"""`sonjit`, and `python -m sonjit`."""

import signal
import sys


def run() -> None:
    """Run the command line and exit; Ctrl-C ends it in one line, while its modules load too."""
    try:
        from sonjit.cli import main

        status = main()
    except KeyboardInterrupt:
        sys.stderr.write("sonjit: stopped\n")
        status = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
    sys.exit(status)


if __name__ == "__main__":
    run()
