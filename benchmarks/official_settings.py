"""Tabulate the settings of the released codes next to those of our recipes.

python -m benchmarks.official_settings            # print the table
python -m benchmarks.official_settings --write    # also write it into docs/students.md
"""

import sys
from importlib import resources

from benchmarks.pages import write_section

from sonjit._util.data_files import read_toml_table
from sonjit_lab.training.recipes import import_object, load_recipe, settings_from

OURS = {"start": "the same by trunk_weights=FILE", "order": "shuffled epochs", "crops": "one"}


def rows():
    """Yield recipe, setting, official value, our value and what they are to each other."""
    for name, record in read_toml_table(resources.files("sonjit_lab.papers") / "official.toml").items():
        recipe = load_recipe(name)
        settings = settings_from(import_object(recipe.settings_class, name), recipe.settings)
        for key, official in record["settings"].items():
            source = settings if hasattr(settings, key) else getattr(settings, "augmentation", None)
            ours = getattr(source, key.removeprefix("augmentation."), OURS.get(key, "none"))
            reason = record.get("because", {}).get(key)
            is_equal = close(official, ours) or (key in ("start", "order") and reason is None)
            yield name, key, official, ours, "equal" if is_equal else f"different: {reason}" if reason else "missing"


def close(one, other):
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    is_number = isinstance(one, int | float) and isinstance(other, int | float)
    return abs(one - other) <= 1e-5 * abs(one) if is_number else one == other


def shown(value):
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def table():
    lines = ["| recipe | setting | official | ours | |", "|---|---|---|---|---|"]
    lines += [f"| `{name}` | {key} | {shown(a)} | {shown(b)} | {verdict} |" for name, key, a, b, verdict in rows()]
    records = read_toml_table(resources.files("sonjit_lab.papers") / "official.toml").items()
    return "\n".join([*lines, "", *(f"* `{name}`: {record['source']}." for name, record in records)])


if __name__ == "__main__":
    print(table())
    if "--write" in sys.argv[1:]:
        write_section("students.md", "python -m benchmarks.official_settings --write", table())
