"""`sonjit page`: the live app as a folder of files for any web host."""

from __future__ import annotations

import sys
from pathlib import Path


def page(out: Path, /, *, engine: Path | None = None, bundle: Path | None = None) -> int:
    """Write the live app as a folder for any web host.

    The networks run in the visitor's browser. `sonjit page app` writes a page that phones can install as an app and
    that works without network. Browsers require https for the camera, except on localhost.

    Args:
        out: New folder.
        engine: Folder with the module for web pages. Default: the build folder of `make web` in a checkout.
        bundle: MediaPipe's face_landmarker.task for blendshapes and poses of faces. Default: the bundle that was
            registered with sonjit models add when `make web` ran.
    """
    from sonjit.detectors.kinds import KINDS
    from sonjit.server.kinds import IN_PAGES, missing_for_stills
    from sonjit.server.static_page import BUILT_ENGINE, write_page

    engine = engine or BUILT_ENGINE
    names = write_page(out, engine, bundle=bundle)
    size_mb = sum((out / name).stat().st_size for name in names) / 1e6
    sys.stdout.write(f"{out}: {len(names)} files, {size_mb:.1f} MB; to try it: python -m http.server -d {out}\n")
    for name in IN_PAGES:
        if missing := missing_for_stills(KINDS[name], engine):
            lacks = ", ".join(missing)
            sys.stdout.write(
                f"images on their own are searched fast for {name}: without {lacks} in {engine / 'models'}\n"
            )
    return 0
