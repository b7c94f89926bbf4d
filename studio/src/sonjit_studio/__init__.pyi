"""Public names of `sonjit_studio`. `names_from_stub` reads this file."""

from sonjit_studio.camera_files import load_cameras as load_cameras
from sonjit_studio.camera_files import save_cameras as save_cameras
from sonjit_studio.rig import CameraRig as CameraRig
from sonjit_studio.rig import RigCamera as RigCamera
from sonjit_studio.triangulation import Triangulation as Triangulation
from sonjit_studio.triangulation import triangulate as triangulate
