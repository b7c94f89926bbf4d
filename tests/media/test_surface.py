import subprocess
import sys

import sonjit.media


def test_import_loads_nothing_heavy():
    code = "import sys, sonjit.media; sys.exit(bool({'cv2', 'av', 'pyarrow', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_everything_promised_is_there():
    assert all(hasattr(sonjit.media, name) for name in sonjit.media.__all__)
