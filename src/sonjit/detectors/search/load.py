"""Load the search of each kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sonjit._util import Image
from sonjit.detectors.kinds import face_boxes, face_networks
from sonjit.detectors.kinds.body import Bodies, BodyObservation, load_bodies
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation
from sonjit.detectors.kinds.hands import HandObservation, Hands, load_hands
from sonjit.detectors.options import BodyOptions, CommonOptions, HandOptions
from sonjit.detectors.search import light, network
from sonjit.detectors.search.ahead import new_helpers
from sonjit.detectors.search.bodies import BodySearch
from sonjit.detectors.search.faces import FaceSearch, search_boxes
from sonjit.detectors.search.hands import HandNetworks, HandSearch
from sonjit.detectors.search.stills import Extent, O
from sonjit.engines import load_ahead, load_engine, load_number_engine, precision

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import StillSearch

T = TypeVar("T")
_FOLLOWED_PX = 24.0
"""Side of the crop of a face from which streams follow it: an eighth of the mesh's input."""


def search_hands(options: HandOptions, hands: Hands) -> StillSearch[HandObservation]:
    """Return the search for hands."""
    assert hands.palms is not None
    helpers = new_helpers(partial(_load_on_one_core, options), options.running) if options.static_image else None
    if helpers is not None:
        hands.at_close.callback(helpers.close)
    new_search = partial(
        HandSearch,
        palms=hands.palms,
        hands=hands,
        network=_loaded(options, partial(load_network, options, has_boxes=False)),
        bodies=_loaded(options, partial(load_arms, options)),
        extent=_extent(options),
        helpers=helpers,
    )
    return in_good_light(lambda rgb: new_search(rgb).observations(), options)


def _load_on_one_core(options: HandOptions) -> HandNetworks:
    hands = load_hands(replace(options, threads=1, shared=True))
    assert hands.palms is not None
    return HandNetworks(hands.palms, hands)


def _loaded(options: CommonOptions, load: Callable[[], T]) -> Callable[[], T]:
    """Load networks ahead. Wait for those of a live stream, whose frames would share the cores with the loading."""
    loading = load_ahead(load)
    if options.is_live:
        loading.result()
    return loading.result


def in_good_light(search: StillSearch[O], options: CommonOptions) -> StillSearch[O]:
    """Return a search that brightens dark stills before. Frames of streams stay as they are."""
    return (lambda rgb: search(light.in_good_light(rgb))) if options.static_image else search


def _extent(options: CommonOptions) -> Extent:
    return Extent(options.min_detection_score, thorough=options.search == "thorough")


def load_network(options: CommonOptions, *, has_boxes: bool = True) -> network.PeopleNetwork:
    """Load the two networks that propose people and hands, the first one without its boxes if they are not needed."""
    file = options.file("person-detector")
    running = replace(options.running, precision=precision.available_precision(options.precision, file))
    outputs = None if has_boxes else ()
    engine = load_engine(file, running, value_range=network.INPUT_RANGE, outputs=outputs, taps=(network.SIDE,))
    return network.PeopleNetwork(engine, load_number_engine(network.OWN_FILE, running))


def load_arms(options: HandOptions) -> Bodies:
    """Load the bodies that propose hands at the ends of arms."""
    as_in_streams = options.as_kind(
        BodyOptions,
        model="full",
        mirrored=options.mirrored,
        static_image=False,
        smoothing="published",
        detector_model=None,
        landmark_model=None,
        precision=precision.available_precision(options.precision, options.file("body-full")),
    )
    return load_bodies(as_in_streams, finds=False)


def search_faces(
    options: CommonOptions, meshes: FaceMeshes | face_boxes.FaceBoxes
) -> StillSearch[FaceObservation] | None:
    """Return the search for faces, or None for boxes in streams, which use the published search in every frame."""
    if isinstance(meshes, face_boxes.FaceBoxes) and not options.static_image:
        return None
    detector, extent = face_networks.load_face_detector(options, "face-full"), _extent(options)
    if isinstance(meshes, face_boxes.FaceBoxes):
        return in_good_light(partial(search_boxes, detector=detector, boxes=meshes, extent=extent), options)
    people = _loaded(options, partial(load_network, options, has_boxes=False))
    # Key frames compare probabilities with limits only, and the network of people takes most of their time.
    sure_score = max(meshes.sure_score, options.min_presence_score) if options.has_key_frames else math.inf
    new_search = partial(
        FaceSearch,
        detector=detector,
        meshes=meshes,
        extent=extent,
        network=people,
        sure_score=sure_score,
        smallest_px=_FOLLOWED_PX if options.has_key_frames else 0.0,
    )
    return in_good_light(lambda rgb: new_search(rgb).observations(), options)


def search_bodies(options: BodyOptions, bodies: Bodies) -> StillSearch[BodyObservation]:
    """Return the search for bodies."""
    new_search = new_body_search(options, bodies)
    return in_good_light(lambda rgb: new_search(rgb).observations(), options)


def new_body_search(options: BodyOptions, bodies: Bodies) -> Callable[[Image], BodySearch]:
    published = replace(options, detector_model=None, landmark_model=None)
    return partial(
        BodySearch,
        network=_loaded(options, partial(load_network, published)),
        faces=face_networks.load_face_detector(published, "face-full"),
        bodies=bodies,
        extent=_extent(options),
        is_stream=options.has_key_frames,
    )
