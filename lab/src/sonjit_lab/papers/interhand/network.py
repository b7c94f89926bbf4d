"""The networks of InterHand2.6M. Importing their modules registers them."""

from sonjit_lab.papers.interhand.internet import InterNet
from sonjit_lab.papers.interhand.rootnet import RootNet

__all__ = ["InterNet", "RootNet"]
