"""One call from inputs to files: the runner that every command and the server share, and what detectors do in it."""

from sonjit.runs.annotations import Annotations, Annotator, Counting, table_columns
from sonjit.runs.detect import Detect
from sonjit.runs.inputs import Inputs
from sonjit.runs.job import Job, run_input, run_job
from sonjit.runs.motion_table import ROW_ENDINGS, convert_motions
from sonjit.runs.processor import Outputs, Pass, Processor, Session, Summary

__all__ = [
    "ROW_ENDINGS",
    "Annotations",
    "Annotator",
    "Counting",
    "Detect",
    "Inputs",
    "Job",
    "Outputs",
    "Pass",
    "Processor",
    "Session",
    "Summary",
    "convert_motions",
    "run_input",
    "run_job",
    "table_columns",
]
