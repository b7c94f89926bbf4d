"""Register hands, faces, bodies and people. Their modules are imported when a detector is created."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sonjit.detectors.kinds import KindEntry, Model, register_kind
from sonjit.detectors.options import BodyOptions, FaceOptions, HandOptions, HolisticOptions
from sonjit.results import Body, Face, Hand, Person

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import StillSearch, StreamSearch
    from sonjit.detectors.kinds.body import Bodies, BodyObservation, BodySmoother
    from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation
    from sonjit.detectors.kinds.face_boxes import FaceBoxes
    from sonjit.detectors.kinds.hands import HandObservation, Hands
    from sonjit.detectors.kinds.holistic import Holistic
    from sonjit.detectors.smoothing import KeypointSmoother


def _table(*models: Model) -> dict[str, Model]:
    return {model.name: model for model in models}


def _hands(name: str) -> Model:
    return Model(name, {"detector": f"palm-{name}", "landmark": f"hand-{name}"})


def _mesh(name: str) -> Model:
    return Model(name, {"detector": "face-short", "landmark": f"face-{name}"})


def _body(name: str) -> Model:
    return Model(name, {"detector": "pose-detector", "landmark": f"body-{name}"})


def _holistic(name: str, hand: str, face: str) -> Model:
    hands, faces = _hands(hand).weights["landmark"], _mesh(face).weights
    parts = {"hand": hands, "face": faces["landmark"], "face_detector": faces["detector"], "recrop": "hand-recrop"}
    return Model(name, {**_body(name).weights, **parts})


def _load_hands(options: HandOptions) -> Hands:
    from sonjit.detectors.kinds.hands import load_hands

    return load_hands(options)


def _hand_smoothers(options: HandOptions) -> Callable[[], KeypointSmoother | None]:
    from sonjit.detectors.kinds.hands import hand_smoothers

    return hand_smoothers(options)


def _search_hands(options: HandOptions, hands: Hands) -> StillSearch[HandObservation]:
    from sonjit.detectors.search.load import search_hands

    return search_hands(options, hands)


def _hands_in_streams(options: HandOptions, hands: Hands) -> StreamSearch[HandObservation]:
    from sonjit.detectors.search.load import hands_in_streams

    return hands_in_streams(options, hands)


def _load_faces(options: FaceOptions) -> FaceMeshes | FaceBoxes:
    from sonjit.detectors.kinds.face_networks import load_faces

    return load_faces(options)


def _face_smoothers(options: FaceOptions) -> Callable[[], KeypointSmoother | None]:
    from sonjit.detectors.kinds.face_networks import face_smoothers

    return face_smoothers(options)


def _search_faces(options: FaceOptions, faces: FaceMeshes | FaceBoxes) -> StillSearch[FaceObservation] | None:
    from sonjit.detectors.search.load import search_faces

    return search_faces(options, faces)


def _faces_in_streams(options: FaceOptions, faces: FaceMeshes) -> StreamSearch[FaceObservation]:
    from sonjit.detectors.search.load import faces_in_streams

    return faces_in_streams(options, faces)


def _load_bodies(options: BodyOptions) -> Bodies:
    from sonjit.detectors.kinds.body import load_bodies

    return load_bodies(options)


def _body_smoothers(options: BodyOptions) -> Callable[[], BodySmoother]:
    from sonjit.detectors.kinds.body import body_smoothers

    return body_smoothers(options)


def _search_bodies(options: BodyOptions, bodies: Bodies) -> StillSearch[BodyObservation]:
    from sonjit.detectors.search.load import search_bodies

    return search_bodies(options, bodies)


def _bodies_in_streams(options: BodyOptions, kind: Bodies | Holistic) -> StreamSearch[BodyObservation]:
    from sonjit.detectors.search.load import bodies_in_streams

    return bodies_in_streams(options, kind)


def _load_people(options: HolisticOptions) -> Holistic:
    from sonjit.detectors.kinds.holistic import load_holistic

    return load_holistic(options)


def _search_people(options: HolisticOptions, people: Holistic) -> StillSearch[BodyObservation]:
    from sonjit.detectors.search.load import search_people

    return search_people(options, people)


register_kind(
    KindEntry(
        name="hands",
        result=Hand,
        summary="Find hands: 21 keypoints each, left or right, in pixels and in metres.",
        plural="hands",
        models=_table(_hands("full"), _hands("lite")),
        model_help="lite is faster, full is more exact.",
        options=HandOptions,
        load=_load_hands,
        smoothers=_hand_smoothers,
        instances=("hand",),
        search=_search_hands,
        stream_search=_hands_in_streams,
        search_weights=("person-detector", "body-full"),
        examples=(
            ("sonjit hands photo.jpg", "prints the hands of an image."),
            ("sonjit hands clip.mp4 --save clip.csv --draw clip-drawn.mp4", "writes a table and a drawn video."),
            (
                "sonjit hands recordings/ --save tables/ --jobs 4",
                "writes a JSON table per file; run it again to continue.",
            ),
            ("sonjit hands camera:0 --mirrored --draw me.mp4", "records until Ctrl-C."),
            (
                "sonjit hands photo.jpg --lift internet --lift-weights snapshot_20.pth.tar --save hands.json",
                "estimates hands in camera space with InterNet's weights.",
            ),
        ),
        weight_groups=("hands",),
    )
)
register_kind(
    KindEntry(
        name="face",
        result=Face,
        summary="Find faces: a mesh of 478 keypoints with irises, or boxes.",
        plural="faces",
        models=_table(
            _mesh("attention"),
            _mesh("mesh"),
            Model("box", {"detector": "face-short"}, is_box=True),
            Model("box-full", {"detector": "face-full"}, min_detection_score=0.6, is_box=True),
        ),
        model_help="attention refines lips, eyes and irises. mesh is faster. box and box-full (to 5 m) return boxes.",
        options=FaceOptions,
        load=_load_faces,
        smoothers=_face_smoothers,
        instances=("face",),
        search=_search_faces,
        stream_search=_faces_in_streams,
        search_weights=("face-full",),
        examples=(
            ("sonjit face photo.jpg --draw drawn.jpg", "draws the mesh."),
            ("sonjit face clip.mp4 --save clip.parquet --measures --max-instances 3", "also writes head poses."),
            (
                "sonjit face crowd.jpg --model box-full --max-instances 50 --save boxes.json",
                "finds small faces as boxes.",
            ),
        ),
        weight_groups=("face",),
    )
)
register_kind(
    KindEntry(
        name="body",
        result=Body,
        summary="Find bodies: 33 keypoints each, in pixels and in metres.",
        plural="bodies",
        models=_table(_body("full"), _body("lite"), _body("heavy")),
        model_help="lite is the fastest, heavy the most exact.",
        options=BodyOptions,
        load=_load_bodies,
        smoothers=_body_smoothers,
        instances=("body",),
        search=_search_bodies,
        stream_search=_bodies_in_streams,
        search_weights=("face-full", "person-detector"),
        examples=(
            ("sonjit body clip.mp4 --save clip.csv --measures --draw drawn.mp4", "also writes joint angles."),
            ("sonjit body clip.mp4 --mask cutout.webm", "writes the people without their background."),
            ("sonjit body squats.mp4 --count left_knee_angle_rad --draw counted.mp4", "counts squats."),
            ("sonjit models pull body-lite body-heavy", "downloads the other two sizes."),
        ),
        weight_groups=("body",),
    )
)
register_kind(
    KindEntry(
        name="holistic",
        result=Person,
        summary="Find people: each body with its own hands and face.",
        plural="people",
        models=_table(
            _holistic("full", "full", "attention"),
            _holistic("lite", "lite", "mesh"),
            _holistic("heavy", "full", "attention"),
        ),
        model_help="Model of the body. lite also uses the lighter hand and face networks.",
        options=HolisticOptions,
        load=_load_people,
        smoothers=_body_smoothers,
        instances=("body", "hand", "face"),
        search=_search_people,
        stream_search=_bodies_in_streams,
        search_weights=("face-full", "palm-full", "person-detector"),
        examples=(
            ("sonjit holistic clip.mp4 --max-instances 2 --save clip.json --draw drawn.mp4", "follows two people."),
        ),
        weight_groups=("holistic",),
    )
)
