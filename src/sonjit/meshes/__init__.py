"""Meshes of hands in images and videos: a rigged hand posed to keypoints, or networks that give MANO."""

from sonjit.hand_models.mesh_files import bvh_from_motion, glb_from_motions
from sonjit.hand_models.rig import RigMotion
from sonjit.meshes.rigged import fit_hands

__all__ = ["RigMotion", "bvh_from_motion", "fit_hands", "glb_from_motions"]
