"""One input and what becomes of it: the data path from a source to its files, as the command line and server run it."""

from sonjit.runs.annotations import Counting, Meaning, Said, table_columns
from sonjit.runs.run import LISTS, STREAM_SMOOTHING, Summary, Task, run_task

__all__ = [
    "LISTS",
    "STREAM_SMOOTHING",
    "Counting",
    "Meaning",
    "Said",
    "Summary",
    "Task",
    "run_task",
    "table_columns",
]
