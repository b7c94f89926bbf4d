"""Speed, memory, start-up time and size of Sonjit, measured alone or against another library.

`cases` lists the cases and decodes the media, `worker` measures one configuration in a fresh process, `peer_mediapipe`
runs the same loop in the peer's interpreter, `tasks` runs it on `mediapipe.tasks`, and `run` starts the processes and
draws the report.
"""

from sonjit.lab.benchmark.cases import CASES, TASK_CASES, Case
from sonjit.lab.benchmark.run import benchmark, check_media

__all__ = ["CASES", "TASK_CASES", "Case", "benchmark", "check_media"]
