"""Re-export `ClassifierOptions`."""

from sonjit.compat.mediapipe.task_options import ClassifierOptions as ClassifierOptions
