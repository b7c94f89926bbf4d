"""From any data set and any model to numbers one can trust: protocols, runs, reports and model cards."""

from sonjit.evaluation.models import ModelChoice, list_models
from sonjit.evaluation.protocols import Protocol, list_protocols, load_protocol
from sonjit.evaluation.published import ImpossibleTableError, list_published, load_groups, load_table
from sonjit.evaluation.report import open_unit_table, save_report, write_units
from sonjit.evaluation.run import Evaluation, EvaluationRequest, Evaluator, evaluate, register_evaluator

__all__ = [
    "Evaluation",
    "EvaluationRequest",
    "Evaluator",
    "ImpossibleTableError",
    "ModelChoice",
    "Protocol",
    "evaluate",
    "list_models",
    "list_protocols",
    "list_published",
    "load_groups",
    "load_protocol",
    "load_table",
    "open_unit_table",
    "register_evaluator",
    "save_report",
    "write_units",
]
