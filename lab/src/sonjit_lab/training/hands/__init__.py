"""Train networks for hands in images: palms, landmarks and keypoint heatmaps.

`LandmarkCrops`, `to_batch` and `landmark_metrics` are the data, batches and metrics of the recipes `hand-*`. A training
loop of your own can use them:

>>> from torch.utils.data import DataLoader
>>> from sonjit_lab.datasets import open_dataset
>>> from sonjit_lab.training.hands import LandmarkCrops, to_batch
>>> crops = LandmarkCrops(open_dataset("folder", "hands"))  # doctest: +SKIP
>>> batches = DataLoader(crops, batch_size=16, shuffle=True, collate_fn=to_batch)  # doctest: +SKIP
"""

from sonjit_lab.training.hands.landmark_data import (
    Batch,
    LandmarkCrop,
    LandmarkCrops,
    landmark_losses,
    landmark_metrics,
    to_batch,
)

__all__ = ["Batch", "LandmarkCrop", "LandmarkCrops", "landmark_losses", "landmark_metrics", "to_batch"]
