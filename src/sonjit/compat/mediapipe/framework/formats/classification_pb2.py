"""Labels with a score."""

from sonjit.compat.mediapipe.messages import Message, Repeated


class Classification(Message):
    """One label, its index among the labels and its probability."""

    index: int = 0
    score: float = 0.0
    label: str = ""
    display_name: str = ""


class ClassificationList(Message):
    """Labels, the best first."""

    classification: Repeated[Classification] = Repeated(Classification)


class ClassificationListCollection(Message):
    """The labels of several."""

    classification_list: Repeated[ClassificationList] = Repeated(ClassificationList)
