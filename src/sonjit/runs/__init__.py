"""Run tasks over inputs: one way from images to files for commands, server jobs and worker processes."""

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.runs.annotations import AngleLimits as AngleLimits
    from sonjit.runs.annotations import EventLimits as EventLimits
    from sonjit.runs.annotations import EventTracker as EventTracker
    from sonjit.runs.annotations import annotate as annotate
    from sonjit.runs.annotations import count_columns as count_columns
    from sonjit.runs.annotations import table_columns as table_columns
    from sonjit.runs.detect import Detect as Detect
    from sonjit.runs.frame_tables import ROW_ENDINGS as ROW_ENDINGS
    from sonjit.runs.frame_tables import convert_events as convert_events
    from sonjit.runs.frame_tables import convert_motions as convert_motions
    from sonjit.runs.inputs import Inputs as Inputs
    from sonjit.runs.run import run_input as run_input
    from sonjit.runs.run import run_job as run_job
    from sonjit.runs.session import Session as Session
    from sonjit.runs.task import Outputs as Outputs
    from sonjit.runs.task import Summary as Summary
    from sonjit.runs.task import Task as Task
    from sonjit.runs.task import Worker as Worker

add_lazy_names(globals(), {
    "AngleLimits EventLimits EventTracker annotate count_columns table_columns": "sonjit.runs.annotations",
    "Detect": "sonjit.runs.detect",
    "ROW_ENDINGS convert_events convert_motions": "sonjit.runs.frame_tables",
    "Inputs": "sonjit.runs.inputs",
    "run_input run_job": "sonjit.runs.run",
    "Session": "sonjit.runs.session",
    "Outputs Summary Task Worker": "sonjit.runs.task",
})  # fmt: skip
