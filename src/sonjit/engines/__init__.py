"""A model file -> run(images): OpenVINO by default, ONNX Runtime behind the same small interface."""

from sonjit.engines.base import Calibration, Engine, EngineName, EngineOptions, Precision, load_engine, shared_networks

__all__ = ["Calibration", "Engine", "EngineName", "EngineOptions", "Precision", "load_engine", "shared_networks"]
