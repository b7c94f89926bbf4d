"""The multi-view studio of Sonjit: calibrated cameras, triangulation, annotation and release."""

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit_studio.camera_files import load_cameras as load_cameras
    from sonjit_studio.camera_files import save_cameras as save_cameras
    from sonjit_studio.rig import CameraRig as CameraRig
    from sonjit_studio.rig import RigCamera as RigCamera
    from sonjit_studio.triangulation import Triangulation as Triangulation
    from sonjit_studio.triangulation import triangulate as triangulate

add_lazy_names(globals(), {
    "load_cameras save_cameras": "sonjit_studio.camera_files",
    "CameraRig RigCamera": "sonjit_studio.rig",
    "Triangulation triangulate": "sonjit_studio.triangulation",
})  # fmt: skip
