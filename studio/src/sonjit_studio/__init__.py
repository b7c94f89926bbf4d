"""The multi-view studio of Sonjit: calibrated cameras, triangulation, annotation and release."""

from sonjit._util.lazy_names import names_from_stub

__getattr__, __dir__, __all__ = names_from_stub(__name__, __file__)
