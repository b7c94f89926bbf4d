"""A data set of an extension. It needs only this file."""

import cv2

from sonjit_lab.datasets import Dataset, DatasetEntry, Instance, Sample, register


class Lamps(Dataset):
    """Images of one lamp each. The file name contains its position: `x_y.png`."""

    def __init__(self, entry, root, split):
        super().__init__(entry, root, split)
        self._files = sorted((root / "images").glob("*.png"))

    def __len__(self):
        return len(self._files)

    def load(self, index):
        file = self._files[index]
        x, y = map(float, file.stem.split("_"))
        height, width = cv2.imread(str(file)).shape[:2]
        lamp = Instance(kind="object", box=(x - 5, y - 5, x + 5, y + 5), category="lamp", category_id=1)
        return Sample(dataset=self.entry.name, id=file.name, image=file, width=width, height=height, instances=(lamp,))


register(DatasetEntry("lamps", "Lamps", Lamps, ("all",), ("object",), "CC0", "nowhere", ("images",)))
