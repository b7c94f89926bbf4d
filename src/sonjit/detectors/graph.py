"""A detector's pipeline as a graph: nodes, and the edges along which images, boxes and keypoints go."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sonjit.detectors.options import CommonOptions


class Edge(NamedTuple):
    """Connection of two nodes with what it carries, at once or one frame later."""

    source: str
    target: str
    carries: str
    next_frame: bool = False


@dataclass(frozen=True)
class PipelineGraph:
    """The descriptions of the nodes of one detector's pipeline by name, in processing order, and the edges."""

    nodes: Mapping[str, str]
    edges: tuple[Edge, ...]

    def mermaid(self) -> str:
        """Return the graph as Mermaid text, which GitHub, GitLab and many editors draw. Loop-back edges are dotted."""
        lines = [f'  {name}["{name}: {what}"]' for name, what in self.nodes.items()]
        for edge in self.edges:
            arrow = "-." if edge.next_frame else "--"
            lines.append(f"  {edge.source} {arrow} {edge.carries} {arrow[::-1]}> {edge.target}")
        return "\n".join(["flowchart LR", *lines])

    def __str__(self) -> str:
        """Return one line per edge."""
        width = max(len(edge.source) for edge in self.edges)
        return "\n".join(
            f"{edge.source:>{width}} --{edge.carries}--> {edge.target}{' (next frame)' if edge.next_frame else ''}"
            for edge in self.edges
        )


def pipeline_graph(
    options: CommonOptions,
    networks: Mapping[str, str],
    *,
    searches_windows: bool,
    crops: bool,
) -> PipelineGraph:
    """Return the graph of the loop that `Detector` runs.

    A search of stills also `searches_windows`. Streams have it in key frames. A landmark network `crops` each box.
    """
    loops = crops and not options.static_image
    finder = networks.get("detector", "the kind's own search")
    room = f"while fewer than {options.max_instances} are tracked"
    due = f"{room}, every frame with none, else every {options.search_interval}" if loops else "every image"
    nodes = {
        "image": "single RGB image" if options.static_image else "RGB frame of a stream",
        "search": f"{finder}, {due}",
    }
    if searches_windows:
        nodes["windows"] = "the same in windows and near other detections, each detection scored by further inferences"
    if options.has_key_frames and "windows" in nodes:
        nodes["windows"] += ", in key frames"
    searches = [name for name in ("search", "windows") if name in nodes]
    edges = [Edge("image", "search", "full image"), *(Edge("image", name, "parts of it") for name in searches[1:])]
    last = searches

    def add(name: str, label: str, carries: str) -> None:
        nonlocal last
        nodes[name] = label
        edges.extend(Edge(source, name, carries) for source in last)
        last = [name]

    if crops:
        network = networks.get("landmark", "the kind's own network")
        add("landmarks", f"{network} in the crop of each box, kept above {options.min_presence_score:g}", "boxes")
        edges.append(Edge("image", "landmarks", "crops"))
    if not options.static_image:
        smoothing = "none" if options.filter is None else "as configured"
        add("tracks", f"ids, at most {options.max_instances}; smoothing: {smoothing}", "keypoints")
    if other_networks := [name for role, name in networks.items() if role not in ("detector", "landmark")]:
        add("parts", f"{', '.join(other_networks)} in crops that each instance places", "boxes")
    add("results", f"at most {options.max_instances}", "instances")
    if loops:
        edges.append(Edge("tracks", "landmarks", "boxes", next_frame=True))
    return PipelineGraph(nodes, tuple(edges))
