"""Meshes of hands in images and videos: a rigged hand posed to keypoints, or MANO meshes of networks."""

from sonjit_lab.hand_models.hand_mesh import fit_hands
from sonjit_lab.hand_models.mesh_files import bvh_from_motion, glb_from_motions
from sonjit_lab.hand_models.rig import RigMotion

__all__ = ["RigMotion", "bvh_from_motion", "fit_hands", "glb_from_motions"]
