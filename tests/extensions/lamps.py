"""A data set, a metric and a table format from outside: all that one has to write is in this file."""

import math
from pathlib import Path

import cv2
import numpy as np

from sonjit.datasets import Dataset, DatasetEntry, Instance, Sample, register
from sonjit.evaluation import register_evaluator
from sonjit.evaluation.metrics import MetricSummary, mean_metric
from sonjit.evaluation.predictions import EvaluatedItem
from sonjit.media import FrameWriter, Header, RowWriter, register_table_format
from sonjit.results import Frame


class Lamps(Dataset):
    """Images of one lamp each, whose place stands in the file's name: `x_y.png`."""

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


class LampEvaluator:
    """How far the nearest predicted box's centre is from a lamp's."""

    main = "lamp_distance"

    def __init__(self, protocol, choice):
        self._unit = protocol.unit

    def evaluate(self, sample, predictions):
        centres = [np.add(one.box[:2], one.box[2:]) / 2 for one in predictions if one.box]
        lamps = [np.add(one.box[:2], one.box[2:]) / 2 for one in sample.instances]
        return [
            EvaluatedItem(
                instance=number, numbers={self.main: min((math.dist(lamp, one) for one in centres), default=math.inf)}
            )
            for number, lamp in enumerate(lamps)
        ]

    def summary(self, evaluated, clusters):
        values = [one.numbers[self.main] for one in evaluated]
        column = np.array(values).reshape(-1, 1)
        metric = mean_metric(self.main, "distance of lamps", column, self._unit, clusters=clusters)
        return MetricSummary(metrics=[metric], values=values)


register_evaluator("lamps", LampEvaluator)


class CountWriter(FrameWriter):
    """A line for each frame: its number, and how many instances it has. A frame is read back with nothing in it."""

    def __init__(self, path: Path, header: Header, types) -> None:
        super().__init__()
        self._path, self._lines = path, [header.kind]

    def write(self, frame, extras=None):
        self._lines.append(f"{frame.index} {len(list(frame.instances()))}")

    def _finish(self):
        self._path.write_text("\n".join(self._lines) + "\n", "utf-8")

    def _abort(self): ...


def load_counts(path):
    kind, *lines = path.read_text("utf-8").splitlines()
    return Header(kind=kind), [Frame(int(line.split()[0]), None) for line in lines]


class CountRows(RowWriter):
    """Of what is no frame: how many rows there are, and their columns."""

    def __init__(self, path: Path, header, columns) -> None:
        super().__init__()
        self._path, self._columns, self._count = path, columns, 0

    def write(self, rows):
        self._count += len(list(rows))

    def _finish(self):
        self._path.write_text(f"{self._count} {' '.join(self._columns)}\n", "utf-8")

    def _abort(self): ...


register_table_format(".count", CountWriter, load_counts, CountRows)
