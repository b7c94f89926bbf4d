"""Public names of `sonjit.runs`. `names_from_stub` reads this file."""

from sonjit.runs.annotations import AngleLimits as AngleLimits
from sonjit.runs.annotations import EventLimits as EventLimits
from sonjit.runs.annotations import annotate as annotate
from sonjit.runs.annotations import count_columns as count_columns
from sonjit.runs.annotations import table_columns as table_columns
from sonjit.runs.detect import Detect as Detect
from sonjit.runs.events import EventTracker as EventTracker
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
