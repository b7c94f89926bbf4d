"""Write the same labels in each format, read them as a data set, and tabulate what came back.

python -m benchmarks.label_formats            # print the table
python -m benchmarks.label_formats --write    # also write it into docs/measured.md
"""

import sys

from benchmarks.pages import write_section
from lab.tests.datasets.round_trips import rows

heading, *lines = rows()
table = [heading, ["---"] * len(heading), *lines]
text = "\n".join(f"| {' | '.join(row)} |" for row in table)
print(text)
if "--write" in sys.argv[1:]:
    write_section("measured.md", "python -m benchmarks.label_formats --write", text)
