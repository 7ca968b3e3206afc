"""The ``secagg`` command: where it starts (docs/cli.md).

This module imports nothing outside the standard library, so that the command can say what is missing.
"""

from __future__ import annotations

import contextlib
import io
import sys

INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main() -> None:
    """Run the command line, then exit: 0 done, 1 failed, 2 wrongly used, 130 interrupted."""
    try:
        _run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        # Under ``python -m``, CPython dies by the signal after an interrupt that went through an exec(), as
        # imports run them, even if it was handled. Another exec() takes that mark away.
        exec("")


def _run() -> None:
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError as error:
        raise SystemExit(_core_alone(sys.argv[1:], error.name)) from None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(io.UnsupportedOperation):
                # A terminal that cannot show a character gets a question mark, not a traceback.
                stream.reconfigure(errors="replace")
    from fl.cli_app import app

    app()


def _core_alone(arguments: list[str], missing: str | None) -> int:
    """What works without the extra: the version, and the doctor, who says what else is missing."""
    from fl.cli_plain import version
    from fl.config import INSTALL_DEMO

    if arguments == ["--version"]:
        print(f"secagg {version()}")
        return 0
    if arguments in (["doctor"], ["doctor", "--json"]):
        from fl.doctor import examine, show

        diagnosis = examine(plain=True)
        show(diagnosis, as_json="--json" in arguments, plain=True)
        return 0 if diagnosis.healthy else 1
    print(f"secagg: {missing} is not installed: {INSTALL_DEMO}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
