"""A detector's pipeline as a graph: nodes, and the edges along which images, boxes and keypoints go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.detectors.options import DetectorOptions


class Edge(NamedTuple):
    """What goes from one node to another.

    Attributes:
        source: name of a node.
        target: name of a node.
        carries: what goes along it.
        next_frame: it arrives one frame later: the loop back.
    """

    source: str
    target: str
    carries: str
    next_frame: bool = False


@dataclass(frozen=True)
class PipelineGraph:
    """The nodes and edges of one detector's pipeline.

    Attributes:
        nodes: what each does, by name, in the order in which a frame meets them.
        edges: between them.
    """

    nodes: Mapping[str, str]
    edges: tuple[Edge, ...]

    def mermaid(self) -> str:
        """The graph in Mermaid's text, which GitHub, GitLab and many editors draw; loop-back edges are dotted."""
        lines = [f'  {name}["{name}: {what}"]' for name, what in self.nodes.items()]
        for one in self.edges:
            arrow = "-." if one.next_frame else "--"
            lines.append(f"  {one.source} {arrow} {one.carries} {arrow[::-1]}> {one.target}")
        return "\n".join(["flowchart LR", *lines])

    def __str__(self) -> str:
        """A line for each edge."""
        width = max(len(one.source) for one in self.edges)
        return "\n".join(
            f"{one.source:>{width}} --{one.carries}--> {one.target}{' (next frame)' if one.next_frame else ''}"
            for one in self.edges
        )


def pipeline_graph(
    options: DetectorOptions, networks: Mapping[str, str], *, thorough: bool, spread: bool, check: bool, crops: bool
) -> PipelineGraph:
    """The graph of the loop that `Detector` runs.

    Args:
        options: of the detector.
        networks: names of its networks by role.
        thorough: searches of whole images go on to windows.
        spread: a window is searched in each frame of a stream besides.
        check: what is found is checked before it is held.
        crops: a landmark network sees each box; else the search gives everything.
    """
    loops = crops and not options.static_image
    finder = networks.get("detector", "the kind's own search")
    room = f"while fewer than {options.max_instances} are held"
    due = f"{room}, every frame with none, else every {options.search_interval}" if loops else "every image"
    nodes = {"image": "RGB, alone" if options.static_image else "RGB, one of a stream", "search": f"{finder}, {due}"}
    if thorough:
        nodes["windows"] = "the same in windows and where other finds point, each find scored by further inferences"
    if spread:
        nodes["window"] = "one window of the image in a frame"
    edges = [Edge("image", "search", "whole image")]
    searches = [name for name in ("search", "windows", "window") if name in nodes]
    edges += [Edge("image", name, "parts of it") for name in searches[1:]]
    if crops:
        network = networks.get("landmark", "the kind's own network")
        nodes["landmarks"] = f"{network} in the crop of each box, kept above {options.min_presence_score:g}"
        edges += [Edge(name, "landmarks", "boxes") for name in searches]
        edges.append(Edge("image", "landmarks", "crops"))
        searches = ["landmarks"]
    if check:
        nodes["check"] = "refuses what is another kind's"
        edges += [Edge(name, "check", "keypoints") for name in searches]
        searches = ["check"]
    if not options.static_image:
        smoothing = "none" if options.smoothing is None else "as configured"
        nodes["tracks"] = f"ids, at most {options.max_instances}; smoothing: {smoothing}"
        edges += [Edge(name, "tracks", "keypoints") for name in searches]
        searches = ["tracks"]
    if parts := [name for role, name in networks.items() if role not in ("detector", "landmark")]:
        nodes["parts"] = f"{', '.join(parts)} in crops that each instance places"
        edges += [Edge(name, "parts", "boxes") for name in searches]
        searches = ["parts"]
    nodes["results"] = f"at most {options.max_instances}"
    edges += [Edge(name, "results", "instances") for name in searches]
    if loops:
        edges.append(Edge("tracks", "landmarks", "boxes", next_frame=True))
    return PipelineGraph(nodes, tuple(edges))
