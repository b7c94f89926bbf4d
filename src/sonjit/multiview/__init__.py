"""The multi-view studio: calibrated cameras, triangulation, annotation, release (extra `[studio]`)."""

from sonjit.multiview.cameras.files import load_cameras, save_cameras
from sonjit.multiview.cameras.rig import CameraRig, RigCamera
from sonjit.multiview.triangulation.triangulation import Triangulation, triangulate

__all__ = ["CameraRig", "RigCamera", "Triangulation", "load_cameras", "save_cameras", "triangulate"]
