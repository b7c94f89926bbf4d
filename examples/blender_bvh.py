"""Write each hand of a video as BVH motion for Blender (File > Import > Motion Capture).

python examples/blender_bvh.py clip.mp4 motion
"""

import sys
from pathlib import Path

import sonjit
from sonjit_lab.meshes import bvh_from_motion, fit_hands

if len(sys.argv) < 3:
    sys.exit(__doc__)

clip, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for motion in fit_hands(sonjit.track(clip, "hands", smoothing="one_euro")):
    path = folder / f"{motion.name}.bvh"
    path.write_text(bvh_from_motion(motion))
    print(f"{path}: {len(motion.indices)} frames")
