"""Write people as characters in BVH, GLB and VRMA, and follow a person of a stream.

Sources: Khronos Group, glTF 2.0. VRM Consortium, VRMC_vrm_animation 1.0.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from sonjit._util import FloatArray, InputError, JobError, pluralize
from sonjit._util.files import Draft, failing_as_job
from sonjit._util.glb import GlbBuilder
from sonjit.geometry import rotations
from sonjit.geometry.steps import Rows, row_times, time_notes, turns_at, values_at
from sonjit.media.tables.base import Extras, ExtraTypes, FrameWriter, Header
from sonjit.media.tables.characters import BONES, NAMES, PARENTS, SIDES, BoneNames, CharacterChoice, Motion
from sonjit.media.tables.characters.avatars import Avatar
from sonjit.media.tables.characters.figure import figure_of
from sonjit.media.tables.characters.fit import Track, fit_motion, latest_of, runs
from sonjit.media.tables.characters.floor import on_floor
from sonjit.media.tables.characters.turns import MAX_SPEED, follow, steady
from sonjit.results import Body, Frame, Hand, Person, unmirrored
from sonjit.results.skeletons.faces import NO_EXPRESSION

_MIN_EDGE_SCORE, _EDGE_S = 0.9, 0.3
"""Minimum score of a hand that is less than a time from a frame without it. Weaker ones are often another pose."""
_MAX_FRAMES: Final = 24  # frames whose median bone lengths a character has
_PARENTS: Final = [BONES.index(parent) if parent else None for parent in PARENTS.values()]
_ROTATION_CHANNELS: Final = "Zrotation Xrotation Yrotation"
_COLOURS: Final = (None, (0.45, 0.1, 0.08), (0.12, 0.33, 0.1), (0.5, 0.32, 0.05))  # of shirts; None for the figure's
_SHORTEST_M, _LONGEST_M = 0.01, 100.0  # extent of a body that becomes a character, in metres
CHARACTER_LISTS: Final = ("bodies", "people")  # kinds of results that become characters
_DEFAULT_FPS = 30  # frames per second of sources without a rate
_SHORTEST_TRACK = 5  # minimum number of frames of a person that becomes a character, unless all have fewer


class Appearance(NamedTuple):
    """A person in one frame."""

    row: int
    body: Body
    hands: tuple[Hand | None, Hand | None]
    blendshapes: dict[str, float] | None = None


def people_of_frame(frame: Frame, row: int, width: int) -> Iterator[tuple[int, Appearance]]:
    """Yield each person of a frame of that width in pixels with the track ID, as in an image that is not mirrored.

    Still images have no track IDs and get negative numbers.
    """
    for number, seen in enumerate(frame.all_results()):
        result = unmirrored(seen, width)
        body = result.body if isinstance(result, Person) else result
        hands = (result.left_hand, result.right_hand) if isinstance(result, Person) else (None, None)
        face = result.face if isinstance(result, Person) else None
        if not isinstance(body, Body):
            continue
        is_known = np.isfinite(body.keypoints_3d).all() and np.isfinite(body.keypoints[:, :2]).all()
        if is_known and _SHORTEST_M < np.ptp(body.keypoints_3d) < _LONGEST_M:  # other ones have no bones
            appearance = Appearance(row, body, hands, None if face is None else face.blendshapes)
            yield -1 - number if body.id is None else body.id, appearance


def track_from_people(people: Sequence[Appearance], times: FloatArray) -> Track:
    """Return one person in M frames of all `times` (T,) in seconds. Unknown presence (NaN) counts as present."""
    frames = np.array([person.row for person in people])
    bodies = [person.body for person in people]
    left, right = (_hands([person.hands[side] for person in people], times[frames]) for side in (0, 1))
    metric = np.array([body.keypoints_3d for body in bodies], np.float64)
    pixels = np.array([body.keypoints[:, :2] for body in bodies], np.float64)
    presence = np.nan_to_num(np.array([body.presence for body in bodies], np.float64), nan=1.0)
    return Track(frames, times[frames], metric, pixels, presence, (left, right))


def expressions_of_people(people: Sequence[Appearance], count: int) -> dict[str, FloatArray]:
    """Return the weight (F,) of each blendshape, by name. Frames without a face repeat the latest weights."""
    expressions = [(person.row, person.blendshapes) for person in people if person.blendshapes is not None]
    if not expressions:
        return {}
    latest = latest_of(np.array([row for row, _ in expressions]), np.arange(count))
    names = [name for name in expressions[0][1] if name != NO_EXPRESSION]
    return {name: np.array([weights[name] for _, weights in expressions])[latest] for name in names}


def _hands(hands: Sequence[Hand | None], times: FloatArray) -> FloatArray:
    """Return the keypoints (M, 21, 3) of a hand in metres; NaN where one is unknown, or weak at the edge of a gap."""
    points = np.array([np.full((21, 3), np.nan) if hand is None else hand.keypoints_3d for hand in hands], np.float64)
    is_missing = np.array([not np.isfinite(hand).all() for hand in points])
    points[is_missing] = np.nan
    for start, stop in runs(np.array([hand is None or hand.score < _MIN_EDGE_SCORE for hand in hands]) | is_missing):
        gap = times[start:stop][is_missing[start:stop]]
        if len(gap):
            points[start:stop][np.abs(times[start:stop, None] - gap).min(1) < _EDGE_S] = np.nan
    return points


class LiveCharacter:
    """Pose of the first person of a stream until it is lost, from its latest frames, above the origin."""

    def __init__(self) -> None:
        self._latest: deque[tuple[float, Appearance]] = deque(maxlen=_MAX_FRAMES)
        self._id: int | None = None
        self._origin: FloatArray | None = None
        self._shown: tuple[float, FloatArray] | None = None

    def pose(self, frame: Frame, size: tuple[int, int]) -> Motion | None:
        """Return the pose of a frame as a motion of one frame; None if the frame has no person."""
        people = dict(people_of_frame(frame, 0, size[0]))
        if not people:
            return None
        if self._id not in people:
            self._id = next(iter(people))
            self._latest.clear()
        time_s = frame.time or 0.0
        if self._latest and time_s <= self._latest[-1][0]:
            self._latest.clear()  # a video that repeats
        self._shown = self._shown if self._latest else None
        self._latest.append((time_s, people[self._id]))
        track = [person._replace(row=row) for row, (_, person) in enumerate(self._latest)]
        times = np.array([time for time, _ in self._latest])
        keypoints = track_from_people(track, times)
        fitted = replace(fit_motion("person", keypoints, len(times), size), still_feet={})  # their begin moves along
        motion = on_floor(fitted, times)
        hips = motion.hips[-1:]
        self._origin = hips * (1, 0, 1) if self._origin is None else self._origin
        turned = motion.rotations[-1:]
        if self._shown is not None:  # a hand that is found again does not jump
            before, shown = self._shown
            limit = MAX_SPEED * (time_s - before)
            turned = follow(shown[0], turned[0], _PARENTS, limit)[None]
        self._shown = time_s, turned
        is_held = motion.is_held[-1:]
        return replace(motion, hips=hips - self._origin, rotations=turned, is_held=is_held, hands_held={})


def bvh_from_character(motion: Motion, times: FloatArray, rows: Rows, convention: BoneNames) -> str:
    """Return a BVH file in metres with y up. All rotations of the rest pose are zero.

    A row is between the frames at `times` (F,) before and after.
    """
    order: list[str] = []
    hierarchy = "\n".join(_hierarchy(motion, "hips", "", NAMES[convention], order))
    turns = turns_at(motion.rotations[:, [BONES.index(bone) for bone in order]], times, rows.times)
    angles = np.rad2deg(rotations.continuous_zxy_angles(turns)).reshape(len(turns), -1)
    values = np.concatenate([values_at(motion.hips, times, rows.times), angles], 1)
    body = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in values.tolist())
    return f"HIERARCHY\n{hierarchy}\nMOTION\nFrames: {len(values)}\nFrame Time: {rows.step_s:.8f}\n{body}\n"


def _hierarchy(motion: Motion, bone: str, indent: str, names: dict[str, str], order: list[str]) -> list[str]:
    """Return the lines of a bone and its descendants, and append their names to the order of the channels."""
    order.append(bone)
    inner = indent + "  "
    is_root = not PARENTS[bone]
    offset = np.zeros(3) if is_root else motion.offsets[BONES.index(bone)]
    channels = f"6 Xposition Yposition Zposition {_ROTATION_CHANNELS}" if is_root else f"3 {_ROTATION_CHANNELS}"
    lines = [f"{indent}{'ROOT' if is_root else 'JOINT'} {names[bone]}", f"{indent}{{", _offset(offset, inner)]
    lines.append(f"{inner}CHANNELS {channels}")
    for child in (child for child, parent in PARENTS.items() if parent == bone):
        lines += _hierarchy(motion, child, inner, names, order)
    if bone in motion.ends:
        lines += [f"{inner}End Site", f"{inner}{{", _offset(motion.ends[bone], inner + "  "), f"{inner}}}"]
    return [*lines, f"{indent}}}"]


def _offset(vector: FloatArray, indent: str) -> str:
    return f"{indent}OFFSET {' '.join(f'{value:.6f}' for value in vector.tolist())}"


def glb_from_characters(motions: Sequence[Motion], times: FloatArray, convention: BoneNames) -> bytes:
    """Return a GLB file of characters as skinned figures of people, animated at times (T,) in seconds."""
    scene = _Scene(times, convention)
    for number, motion in enumerate(motions):
        first = scene.add(motion)
        scene.add_figure(motion, first, _COLOURS[number % len(_COLOURS)])
    return scene.to_bytes()


def vrma_from_character(
    motion: Motion, times: FloatArray, convention: BoneNames, presets: dict[str, FloatArray] | None = None
) -> bytes:
    """Return a VRM animation at times (T,) in seconds, which avatars of VRM 1.0 play; see `glb_from_characters`.

    The blendshapes are custom expressions, unless there are weights (T,) of VRM's `presets`.
    """
    scene = _Scene(times, convention)
    first = scene.add(motion)
    bones = {bone: {"node": first + number} for number, bone in enumerate(BONES)}
    extension: dict[str, object] = {"specVersion": "1.0", "humanoid": {"humanBones": bones}}
    if presets or motion.expressions:
        kind = "preset" if presets else "custom"
        extension["expressions"] = {kind: scene.add_expressions(presets or motion.expressions)}
    scene.document["extensionsUsed"] = ["VRMC_vrm_animation"]
    scene.document["extensions"] = {"VRMC_vrm_animation": extension}
    return scene.to_bytes()


class _Scene:
    """Nodes and one animation of characters."""

    def __init__(self, times: FloatArray, convention: BoneNames) -> None:
        self._builder, self._names = GlbBuilder(), NAMES[convention]
        self._nodes: list[dict[str, object]] = []
        self._roots: list[int] = []
        self._channels: list[dict[str, object]] = []
        self._samplers: list[dict[str, object]] = []
        self._clock = self._builder.add((times - times[0]).astype(np.float32), bounds=True)

    @property
    def document(self) -> dict[str, Any]:
        """JSON part of the file."""
        return self._builder.document

    def add(self, motion: Motion) -> int:
        """Add the nodes of a character in the rest pose, and their animation. Return the node of the hips."""
        self._roots.append(len(self._nodes))
        held = {"Pose": motion.is_held} | {f"{side.title()}Hand": held for side, held in motion.hands_held.items()}
        extras = {f"framesThatHoldThe{part}": np.flatnonzero(frames).tolist() for part, frames in held.items()}
        self._nodes.append({"name": motion.name, "extras": extras})
        first = len(self._nodes)
        self._nodes[-1]["children"] = [first]
        for number, bone in enumerate(BONES):
            children = [first + BONES.index(child) for child, parent in PARENTS.items() if parent == bone]
            node: dict[str, object] = {"name": self._names[bone], "translation": motion.offsets[number].tolist()}
            self._nodes.append(node | ({"children": children} if children else {}))
            quaternions = np.roll(rotations.quaternion_wxyz_from_matrix(motion.rotations[:, number]), -1, 1)
            signs = np.cumprod(np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1, 1))
            quaternions[1:] *= signs[:, None]  # q and -q are the same rotation: keep neighbours close
            self._animate(first + number, "rotation", quaternions)
        self._animate(first, "translation", motion.hips)
        return first

    def add_expressions(self, expressions: dict[str, FloatArray]) -> dict[str, dict[str, int]]:
        """Add a node for each expression, whose x animates the weights (T,), 0 to 1. Return the nodes by name."""
        added: dict[str, dict[str, int]] = {}
        for name, weights in expressions.items():
            node = len(self._nodes)
            self._roots.append(node)
            self._nodes.append({"name": name})
            self._animate(node, "translation", np.pad(weights.clip(0, 1)[:, None], ((0, 0), (0, 2))))
            added[name] = {"node": node}
        return added

    def add_figure(self, motion: Motion, first: int, colour: tuple[float, float, float] | None) -> None:
        """Add the figure of a character, bound to its nodes, with the colour of its shirt. None is the usual colour."""
        inverse = np.tile(np.eye(4, dtype=np.float32), (len(BONES), 1, 1))
        inverse[:, :3, 3] = -motion.rest_joints()
        skins = self.document.setdefault("skins", [])
        skins.append(
            {
                "name": motion.name,
                "joints": list(range(first, first + len(BONES))),
                "skeleton": first,
                "inverseBindMatrices": self._builder.add(inverse),
            }
        )
        mesh: int | None = None
        for part in figure_of(motion):
            mesh = self._builder.add_mesh(
                motion.name,
                part.faces,
                colour if part.is_shirt and colour is not None else part.colour,
                mesh,
                POSITION=part.vertices,
                NORMAL=part.normals,
                JOINTS_0=part.joints,
                WEIGHTS_0=part.weights,
            )
        self._roots.append(len(self._nodes))
        self._nodes.append({"name": f"{motion.name} figure", "mesh": mesh, "skin": len(skins) - 1})

    def _animate(self, node: int, path: str, values: FloatArray) -> None:
        target = {"node": node, "path": path}
        self._channels.append({"sampler": len(self._samplers), "target": target})
        self._samplers.append({"input": self._clock, "output": self._builder.add(values.astype(np.float32))})

    def to_bytes(self) -> bytes:
        """Return the complete file."""
        animation = {"name": "motion", "channels": self._channels, "samplers": self._samplers}
        scene = {"scenes": [{"nodes": self._roots}], "scene": 0}
        self._builder.document |= {"nodes": self._nodes, "animations": [animation], **scene}
        return self._builder.to_bytes()


class CharacterWriter(FrameWriter):
    """People of a video as characters: all in one `.glb`; in `.bvh`, in `.vrma`, and if a model moves, one each.

    Those after the person with the most frames are in `NAME-2.bvh`, and so on. Keypoints stay in memory until the end.
    """

    def __init__(self, path: Path, header: Header, extra: ExtraTypes, choice: CharacterChoice) -> None:
        super().__init__()
        del extra
        if header.kind not in CHARACTER_LISTS:
            raise InputError(f"{path}: a character requires sonjit body or sonjit holistic. For hands use sonjit mesh")
        assert header.width is not None
        assert header.height is not None
        self._size, self._fps = (header.width, header.height), header.fps
        self._convention: BoneNames = choice.bones or "vrm"
        self._avatar = None if choice.onto is None else Avatar(choice.onto)
        self._path, self._drafts = path, {path: Draft(path)}
        self._times: list[float] = []
        self._people: dict[int, list[Appearance]] = {}

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame."""
        row = len(self._times)
        self._times.append(max(frame.time or 0.0, *(time + 0.001 for time in self._times[-1:]), 0.0))  # they rise
        for key, person in people_of_frame(frame, row, self._size[0]):
            self._people.setdefault(key, []).append(person)

    def _complete(self) -> None:
        """Write all files as drafts, so that all or none are kept."""
        for path, data in self._files(self._motions(), np.array(self._times)).items():
            if path not in self._drafts:
                self._drafts[path] = Draft(path)
                self.more_paths.append(str(path))
            with failing_as_job(path):
                self._drafts[path].path.write_bytes(data)

    def _finish(self) -> None:
        for draft in self._drafts.values():
            draft.keep()

    def _abort(self) -> None:
        for draft in self._drafts.values():
            draft.drop()

    def _files(self, motions: list[Motion], times: FloatArray) -> dict[Path, bytes]:
        """Return the contents of all files."""
        ending = self._path.suffix.lower()
        files: dict[Path, bytes] = {}
        usual_s = float(np.median(np.diff(times))) if len(times) > 1 else 1 / _DEFAULT_FPS
        if ending == ".glb" and self._avatar is None:
            self.notes += [f"{self._path}: {text}" for text in time_notes(times, Rows(times, usual_s, 0.0))]
            return {self._path: glb_from_characters(motions, times, self._convention)}
        for number, motion in enumerate(motions, 1):
            path = self._path if number == 1 else self._path.with_stem(f"{self._path.stem}-{number}")
            rows = Rows(times, usual_s, 0.0)
            if ending == ".glb" and self._avatar is not None:
                files[path] = self._avatar.animated(motion, times)
            elif ending == ".vrma":
                presets = self._avatar.presets(motion.expressions) if self._avatar is not None else None
                files[path] = vrma_from_character(motion, times, self._convention, presets)
            else:
                rows = row_times(times, 1 / self._fps if self._fps else usual_s)
                files[path] = bvh_from_character(motion, times, rows, self._convention).encode()
            self.notes += [f"{path}: {text}" for text in time_notes(times, rows)]
        return files

    def _motions(self) -> list[Motion]:
        """Fit a character to each person. The first person begins above the origin."""
        tracks = sorted(self._people.values(), key=len, reverse=True)
        if not tracks:
            raise JobError(f"{self._path}: no person was found. Use another input, or a table such as .csv")
        long = [track for track in tracks if len(track) >= _SHORTEST_TRACK] or tracks
        if len(long) < len(tracks):
            short = pluralize(len(tracks) - len(long), "person", "people")
            self.notes.append(f"{self._path}: {short} in less than {_SHORTEST_TRACK} frames omitted")
        times = np.array(self._times)
        motions: list[Motion] = []
        for number, rows in enumerate(long, 1):
            track = track_from_people(rows, times)
            motion = fit_motion(f"person{number}", track, len(times), self._size)
            motion = replace(motion, rotations=steady(motion.rotations, _PARENTS, times))
            held = {side: motion.hands_held[side] for n, side in enumerate(SIDES) if any(row.hands[n] for row in rows)}
            motion = replace(motion, expressions=expressions_of_people(rows, len(times)), hands_held=held)
            if count := int(motion.is_held.sum()):
                frames = f"{count} of {len(times)} frames"
                self.notes.append(f"{self._path}: {motion.name} is missing in {frames}, which repeat the latest pose")
            motions.append(motion)
        if self._avatar is not None:
            motions = [self._avatar.follow(motion) for motion in motions]
        return [on_floor(motion, times).moved(motions[0].hips[0] * (-1, 0, -1)) for motion in motions]
