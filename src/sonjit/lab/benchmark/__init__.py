"""Speed, memory, start-up time and size of Sonjit, measured alone or against another library.

`cases` lists the cases and decodes the media, `worker` measures one configuration in a fresh process, `peer_mediapipe`
runs the same loop in the peer's interpreter, `tasks` runs it on `mediapipe.tasks`, `run` starts the processes and draws
the report, and `layers` measures the layers of the networks.
"""

from sonjit.lab.benchmark.run import CASES, TASK_CASES, Case, benchmark, check_media, measure_layers

__all__ = ["CASES", "TASK_CASES", "Case", "benchmark", "check_media", "measure_layers"]
