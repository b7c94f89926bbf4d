"""An evaluation task with a metric of an extension. It needs only this file."""

import math

import numpy as np

from sonjit_lab.evaluation import register_evaluator
from sonjit_lab.evaluation.metrics import MetricSummary, mean_metric
from sonjit_lab.evaluation.predictions import EvaluatedItem


class LampEvaluator:
    """Evaluator of the distance between a lamp and the nearest centre of a predicted box."""

    main = "lamp_distance"

    def __init__(self, protocol, choice):
        self._unit = protocol.unit

    def evaluate(self, sample, predictions):
        centres = [np.add(prediction.box[:2], prediction.box[2:]) / 2 for prediction in predictions if prediction.box]
        lamps = [np.add(instance.box[:2], instance.box[2:]) / 2 for instance in sample.instances]
        return [
            EvaluatedItem(
                instance=number,
                numbers={self.main: min((math.dist(lamp, centre) for centre in centres), default=math.inf)},
            )
            for number, lamp in enumerate(lamps)
        ]

    def summary(self, evaluated, clusters):
        values = [one.numbers[self.main] for one in evaluated]
        column = np.array(values).reshape(-1, 1)
        metric = mean_metric(self.main, "distance of lamps", column, self._unit, clusters=clusters)
        return MetricSummary(metrics=[metric], values=values)


register_evaluator("lamps", LampEvaluator)
