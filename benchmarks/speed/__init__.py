"""Speed, memory, start-up time and size of Sonjit, measured alone or against another library.

`run` has the cases, starts the processes, measures the layers of networks and draws the report. `worker` measures one
configuration in a fresh process, which may run the interpreter and the libraries of the other side.
"""

from speed.run import CASES, TASK_CASES, Case, benchmark, check_media, measure_layers

__all__ = ["CASES", "TASK_CASES", "Case", "benchmark", "check_media", "measure_layers"]
