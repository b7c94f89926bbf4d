"""Helpers of every package: types of arrays, errors, JSON text, files, processes and optional imports."""

from sonjit._util.lazy_names import names_from_stub

__getattr__, __dir__, __all__ = names_from_stub(__name__, __file__)
