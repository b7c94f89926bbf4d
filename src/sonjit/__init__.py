"""Sonjit: hands, faces and bodies in images, video and live cameras, offline, on an ordinary CPU.

>>> import sonjit
>>> sorted(sonjit.__all__)[0]
'Body'
"""

import os

if not os.path.isdir(__path__[0]):  # noqa: PTH112  # pathlib is slow to import
    raise ImportError(
        f"sonjit cannot be imported from {os.path.dirname(__path__[0])}: it reads files and native libraries of its "  # noqa: PTH120
        "folder. Unpack the zip file, or install sonjit with pip"
    )

# Threads of OpenBLAS, in NumPy and OpenCV, wait busily for 2^26 cycles after their start and after each call, a quarter
# of the processor time of a start. OpenBLAS reads the exponent when NumPy is imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

from sonjit._util.lazy_names import names_from_stub  # it reads files of the folder

__getattr__, __dir__, __all__ = names_from_stub(__name__, __file__)
