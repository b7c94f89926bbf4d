"""Characters: skeletons with constant bone lengths that follow tracked people, as BVH, GLB and VRMA."""
