"""Run tasks over inputs: one way from images to files for commands, server jobs and worker processes."""

from sonjit.runs.annotations import AngleLimits, EventLimits, EventTracker, annotate, count_columns, table_columns
from sonjit.runs.detect import Detect
from sonjit.runs.frame_tables import ROW_ENDINGS, convert_events, convert_motions
from sonjit.runs.inputs import Inputs
from sonjit.runs.run import run_input, run_job
from sonjit.runs.session import Session
from sonjit.runs.task import Outputs, Summary, Task, Worker

__all__ = [
    "ROW_ENDINGS", "AngleLimits", "Detect", "EventLimits", "EventTracker", "Inputs", "Outputs", "Session", "Summary",
    "Task", "Worker", "annotate", "convert_events", "convert_motions", "count_columns", "run_input", "run_job",
    "table_columns",
]  # fmt: skip
