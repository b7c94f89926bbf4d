"""Speed, memory, start and size of Sonjit, alone or beside another library in an interpreter of its own.

`cases` holds what is measured and decodes the media, `worker` measures one configuration in a fresh process,
`peer_mediapipe` lets the peer's interpreter run the same loop, `tasks` lets both run it on `mediapipe.tasks`, and `run`
brings them together and shows the outcome.
"""

from sonjit.benchmark.cases import CASES, TASK_CASES, Case
from sonjit.benchmark.run import benchmark, check_media

__all__ = ["CASES", "TASK_CASES", "Case", "benchmark", "check_media"]
