"""Measure the processor time of a synthetic image by stage, in milliseconds.

    python benchmarks/render.py [--size 256] [--images 48]

Scenes are those of `sonjit synth`: hands, sleeves, objects, lamps with shadows. The times are sums over all threads of
the process. Each stage waits for OpenGL to finish, which adds a small overhead.
"""

import argparse
import time
from collections import defaultdict
from typing import ClassVar

import numpy as np

from sonjit.lab.synthesis.backgrounds import Effects, apply_effects
from sonjit.lab.synthesis.factors import FACTORS, Factors
from sonjit.lab.synthesis.hands import drawables_from_hand
from sonjit.lab.synthesis.renderer import Renderer, Targets, renderer_name
from sonjit.lab.synthesis.scenes import SceneSampler

STAGES = {
    "_load": "meshes sent",
    "_draw_shadows": "shadow map",
    "_draw_geometry": "triangles",
    "_draw_openness": "openness",
    "_draw_light": "light",
    "_draw_pixels": "pixels of samples",
    "read": "read back",
}
EFFECTS = Effects(motion_px=3, backdrop_px=2, defocus_px=0.8, vignette=0.3, exposure=0.2, noise=0.3, compression=0.3)


class Timed(Renderer):
    """Renderer that waits after each stage and records its time."""

    spent: ClassVar = defaultdict(list)


def _timed(name, method):
    def stage(self, *arguments):
        started = time.process_time()
        try:
            return method(self, *arguments)
        finally:
            if isinstance(self, Renderer):
                self._context.finish()
            Timed.spent[STAGES[name]].append(time.process_time() - started)

    return stage


for _name in [each for each in STAGES if each != "read"]:
    setattr(Timed, _name, _timed(_name, getattr(Renderer, _name)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--images", type=int, default=48)
    options = parser.parse_args()
    sampler = SceneSampler(Factors(FACTORS), 3, "webcam", 1, (options.size, options.size))
    spent, views, images = Timed.spent, [], []
    for index in range(options.images):
        scene = next(iter(sampler.make(index)))
        started = time.process_time()
        hands = [each for n, hand in enumerate(scene.hands, 1) for each in drawables_from_hand(hand, n)]
        spent["hands to meshes"].append(time.process_time() - started)
        views.append(([*hands, *scene.objects], scene.cameras[0], scene.sizes[0], scene.lighting, scene.background[0]))
    with Renderer() as renderer:
        for warm in (False, True):  # compiles the shaders
            for view in views:
                started = time.process_time()
                got = renderer.render(*view)
                if warm:
                    spent["complete image"].append(time.process_time() - started)
                    images.append(got)
    for got in images:
        started = time.process_time()
        apply_effects(got.rgb, got, EFFECTS, np.random.default_rng(0))
        spent["effects"].append(time.process_time() - started)
    Targets.read = _timed("read", Targets.read)
    with Timed() as renderer:
        for warm in (False, True):
            for view in views:
                renderer.render(*view)
            if not warm:
                for stage in STAGES.values():
                    spent[stage].clear()
    covers = [got.cover.mean() for got in images]
    triangles = [sum(len(each.faces) for each in view[0]) for view in views]
    print(f"{renderer_name()}, {options.size} x {options.size}, {options.images} scenes")
    print(f"{np.mean(covers):.0%} of each image covered, {np.mean(triangles):.0f} triangles")
    print(f"\n{'stage':24}{'median ms':>10}{'mean ms':>10}{'95 % below':>12}")
    for stage in ("hands to meshes", *STAGES.values(), "complete image", "effects"):
        times = np.array(spent[stage]) * 1e3
        print(f"{stage:24}{np.median(times):10.2f}{times.mean():10.2f}{np.quantile(times, 0.95):12.2f}")


if __name__ == "__main__":
    main()
