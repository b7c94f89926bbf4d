"""Re-export `Classification` and `ClassificationList` and `ClassificationListCollection`."""

from sonjit.compat.mediapipe.message_types import Classification as Classification
from sonjit.compat.mediapipe.message_types import ClassificationList as ClassificationList
from sonjit.compat.mediapipe.message_types import ClassificationListCollection as ClassificationListCollection
