"""Evaluate landmarks of faces."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sonjit_lab import metrics
from sonjit_lab.datasets import Instance
from sonjit_lab.evaluation import metrics as summaries
from sonjit_lab.evaluation.landmarks import LandmarkEvaluator, points_of
from sonjit_lab.evaluation.predictions import EvaluatedItem, Prediction
from sonjit_lab.evaluation.protocols import Protocol


class FaceEvaluator(LandmarkEvaluator):
    """Evaluator of faces as in 300W, 300VW and WFLW; the protocol's `curve` ends at the threshold of FR and AUC."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol, "face")
        self.main = "nme"
        self._pupils = protocol.pupils

    def _evaluate(
        self, item: EvaluatedItem, instance: Instance, truth: NDArray[np.float64], prediction: Prediction | None
    ) -> EvaluatedItem:
        points = points_of(prediction, truth)
        sizes = {"nme": metrics.outer_corner_distances(truth[None])}
        if self._pupils:
            sizes["nme_pupils"] = metrics.pupil_distances(truth[None])
        numbers: dict[str, float] = {}
        errors: dict[str, NDArray[np.float64]] = {}
        for name, size in sizes.items():
            errors[name] = 100 * metrics.normalised_errors(points[None], truth[None], size)[0]
            labelled = errors[name][~np.isnan(errors[name])]
            numbers[name] = float(labelled.mean()) if labelled.size else math.nan  # inf if a point was not predicted
        if not math.isnan(numbers["nme"]):
            numbers["found"] = float(prediction is not None)
        return replace(item, errors={"nme": errors["nme"]}, numbers=numbers)

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> summaries.MetricSummary:
        """Return NME, FR and AUC of all images and of each subset, with errors by part and by condition."""
        limit, nme = self._curve[1], summaries.column(evaluated, "nme")
        summary = summaries.MetricSummary(values=nme.tolist())
        subsets = [set(item.conditions.get("subset", "").split("; ")) for item in evaluated]
        for subset in ("", *sorted(set[str]().union(*subsets) - {""})):
            inside = np.array([not subset or subset in names for names in subsets], np.bool_)
            ending, of = (f"_{subset.replace(' ', '_')}", f", {subset.replace('_', '-')}") if subset else ("", "")
            errors = np.where(inside, nme, np.nan)
            counted = ~np.isnan(errors)
            failed = np.where(counted, 100.0 * (errors > limit), np.nan)
            areas = np.where(counted, 100 * np.maximum(0, 1 - errors / limit), np.nan)
            summary.add(f"nme{ending}", f"NME{of}", errors, "%", clusters)
            summary.add(f"fr{ending}", f"FR above {limit:g} %{of}", failed, "%", clusters)
            summary.add(f"auc{ending}", f"AUC to {limit:g} %{of}", areas, "%", clusters, better="higher")
        if self._pupils:
            summary.add("nme_pupils", "NME, by the pupils", summaries.column(evaluated, "nme_pupils"), "%", clusters)
        summary.add("found", "found", 100 * summaries.column(evaluated, "found"), "%", clusters, better="higher")
        points = summaries.stack_rows([item.errors["nme"] for item in evaluated])
        self._add_parts(summary, evaluated, clusters, points, nme[:, None])
        summary.curves.append(self._pck("images", nme[:, None]))
        return summary
