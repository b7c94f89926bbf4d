"""The multi-view studio: calibrated cameras, triangulation, annotation, release (extra `[studio]`)."""

from sonjit.studio.camera_files import load_cameras, save_cameras
from sonjit.studio.rig import CameraRig, RigCamera
from sonjit.studio.triangulation import Triangulation, triangulate

__all__ = ["CameraRig", "RigCamera", "Triangulation", "load_cameras", "save_cameras", "triangulate"]
