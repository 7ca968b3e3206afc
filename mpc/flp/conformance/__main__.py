"""``python -m mpc.flp.conformance DIR``: a line for each vector, then how many passed and failed."""

from __future__ import annotations

import sys
from pathlib import Path

from mpc.flp.conformance.replay import replay_file


def main(arguments: list[str]) -> int:
    """0 if every vector passes, 1 if one does not, 2 if there is none to run."""
    paths = sorted(Path(arguments[0]).glob("*.json")) if len(arguments) == 1 else []
    if not paths:
        sys.stderr.write("usage: python -m mpc.flp.conformance DIR, where DIR holds *.json\n")
        return 2
    failed = 0
    for path in paths:
        try:
            replay_file(path)
        except Exception as reason:  # whatever a vector does, the others still run
            failed += 1
            sys.stdout.write(f"FAIL {path.stem}: {type(reason).__name__}: {reason}\n")
        else:
            sys.stdout.write(f"ok   {path.stem}\n")
    sys.stdout.write(f"{len(paths) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
