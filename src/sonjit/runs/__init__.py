"""Run tasks over inputs: one way from images to files for commands, server jobs and worker processes."""

from sonjit._util.lazy_names import names_from_stub

__getattr__, __dir__, __all__ = names_from_stub(__name__, __file__)
