"""The multi-view studio: calibrated cameras, triangulation, annotation, release (extra `[studio]`)."""

from sonjit.studio.cameras.files import load_cameras, save_cameras
from sonjit.studio.cameras.rig import CameraRig, RigCamera
from sonjit.studio.triangulation.triangulation import Triangulation, triangulate

__all__ = ["CameraRig", "RigCamera", "Triangulation", "load_cameras", "save_cameras", "triangulate"]
