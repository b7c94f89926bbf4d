"""What programs and scripts may rely on: public names, parameters and members, and the command line's options.

    .venv/bin/python tests/support/record_surface.py

writes it anew; docs/versions.md says when a line may go.
"""

import dataclasses
import inspect
import sys
from pathlib import Path

import sonjit
from sonjit.cli import build_app

RECORD = Path(__file__).parents[1] / "public_surface.txt"


def surface() -> list[str]:
    """Return a sorted line for each stable name, parameter and option."""
    return sorted([*_python(), *_commands(build_app(), ())])


def _python():
    for name in sonjit.__all__:
        value = getattr(sonjit, name)
        if inspect.isfunction(value):
            parameters = ", ".join(inspect.signature(value).parameters)
            yield f"sonjit.{name}({parameters})"
        elif inspect.isclass(value):
            fields = {one.name for one in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
            own = {member for one in value.__mro__ if one.__module__.startswith("sonjit") for member in vars(one)}
            members = {member for member in fields | own if not member.startswith("_")}
            yield from (f"sonjit.{name}.{member}" for member in members)
            yield f"sonjit.{name}"
        else:
            yield f"sonjit.{name}"


def _commands(app, path):
    for name in app:
        if name.startswith("-"):
            continue
        one, words = app[name], (*path, name)
        yield from _commands(one, words)
        if one.default_command is not None:
            yield f"$ sonjit {' '.join(words)}"
            for argument in one.assemble_argument_collection():
                yield from (f"$ sonjit {' '.join(words)} {option}" for option in argument.names if option != "*")


if __name__ == "__main__":
    RECORD.write_text("".join(f"{line}\n" for line in surface()), "utf-8")
    sys.stderr.write(f"wrote {RECORD}\n")
