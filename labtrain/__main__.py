"""``python -m labtrain``: the command line, also where scripts are not on the path."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point; a Ctrl-C while the command line itself is still being loaded ends in a sentence too."""
    try:
        from labtrain import cli
    except KeyboardInterrupt:
        print("labtrain: stopped before anything was measured", file=sys.stderr)
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
