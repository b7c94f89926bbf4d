"""What the browser gets: the page, the skeletons and the sample clip. Everything comes from this installation."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from sonjit.server.errors import RefusedError

if TYPE_CHECKING:
    from os import PathLike, stat_result

    from starlette.types import Scope

PAGE = Path(__file__).parent / "page"
_ROOM = Path(str(files("sonjit")))
_MEDIA_TYPES = {  # a machine's own table may say otherwise, and browsers run no module of another type
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


class PageFiles(StaticFiles):
    """The folder `page/`."""

    def __init__(self) -> None:
        super().__init__(directory=PAGE, html=True, check_dir=False)

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """One file with its type; 304 where the browser has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        media_type = _MEDIA_TYPES.get(Path(full_path).suffix)
        if media_type is not None and response.status_code == 200:
            is_text = not media_type.startswith("image/")
            response.headers["content-type"] = media_type + ("; charset=utf-8" if is_text else "")
        return response


def file_router() -> APIRouter:
    """Files that lie in other rooms."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def docs() -> Response:
        return FileResponse(PAGE / "api.html")

    @router.get("/sample.mp4")
    def sample() -> Response:
        return FileResponse(_ROOM / "assets" / "demo.mp4", media_type="video/mp4")

    @router.get("/skeletons/{name}.json")
    def skeleton(name: str) -> Response:
        known = {path.stem: path for path in (_ROOM / "skeletons").glob("*.json")}
        if name not in known:
            raise RefusedError("not_found", f"no skeleton {name[:60]!r}; known: {', '.join(sorted(known))}")
        return FileResponse(known[name], media_type="application/json")

    return router
