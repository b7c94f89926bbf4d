"""Evaluate any model on any data set: protocols, runs, reports and model cards."""

from sonjit_lab.evaluation.models import ModelChoice, list_models
from sonjit_lab.evaluation.predictions import ImpossibleTableError
from sonjit_lab.evaluation.protocols import Protocol, list_protocols, load_protocol
from sonjit_lab.evaluation.published import list_published, load_groups, load_table
from sonjit_lab.evaluation.report import open_unit_table, save_report, write_units
from sonjit_lab.evaluation.run import Evaluation, EvaluationRequest, Evaluator, evaluate, register_evaluator

__all__ = [
    "Evaluation", "EvaluationRequest", "Evaluator", "ImpossibleTableError", "ModelChoice", "Protocol", "evaluate",
    "list_models", "list_protocols", "list_published", "load_groups", "load_protocol", "load_table",
    "open_unit_table", "register_evaluator", "save_report", "write_units",
]  # fmt: skip
