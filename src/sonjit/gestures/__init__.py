"""Gestures of hands: a small trained network, custom gestures, gestures over time, and motions. It needs only NumPy."""

from sonjit._util.lazy_names import names_from_stub

__getattr__, __dir__, __all__ = names_from_stub(__name__, __file__)
