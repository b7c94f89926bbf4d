"""Hand data sets in their official layouts: expected samples of generated sets, and damaged sets."""

import json
import pickle
import re
import shutil

import numpy as np
import pytest
import yaml
from faster_coco_eval import COCO
from faster_coco_eval import mask as mask_functions

from sonjit._util.errors import InputError
from sonjit_lab.datasets import convert_dataset, dataset_entry, list_datasets, open_dataset, reading

TOLERANCE = 1e-4  # pixels and millimetres, where the file itself does not say that it rounds more


def plain(name):
    return re.sub(r"\W|_", "", name.lower())


def names_for(folder):
    """Return the data sets whose layout a folder of `fixtures` or `real/datasets` has."""
    complete, first = plain(folder.name), plain(folder.name.split("_")[0])
    exact = [name for name in list_datasets() if plain(name) == complete]
    return exact or [name for name in list_datasets() if plain(name).startswith(first)][:1]


def opened(name, root, **options):
    """Open every existing split."""
    for split in dataset_entry(name).splits:
        try:
            yield open_dataset(name, root, split, check="all", **options)
        except InputError as error:
            if not re.search("missing|no .* of the split|belongs to the split|counts a subject", str(error)):
                raise


def samples_by_image(name, root):
    found = {sample.id: sample for dataset in opened(name, root) for sample in dataset}
    assert found, f"nothing of {name} in {root}"
    return found


def hand_of(sample, record):
    side = record.get("side", "").title()
    (hand,) = [instance for instance in sample.instances if instance.kind == "hand" and instance.side == side]
    return hand


def in_set_order(sample, what):
    """Return InterHand2.6M's 42 joints (42, D) from both hands."""
    width = 2 if what == "keypoints_px" else 3
    joints = np.full((42, width), np.nan)
    for hand in sample.instances:
        joints[np.array(reading.INTERHAND) + (21 if hand.side == "Left" else 0)] = getattr(hand, what)
    return joints


@pytest.fixture
def copied(data, tmp_path):
    """Return a function that copies a folder of `fixtures`, which a test may damage."""

    def copy(beginning):
        found = sorted((data / "fixtures").glob(f"{beginning}*"))
        if not found:
            pytest.skip(f"no {beginning}* in {data / 'fixtures'}")
        root = tmp_path / beginning
        shutil.copytree(found[0], root)
        return root

    return copy


@pytest.mark.golden
@pytest.mark.files("fixtures/*/expected.json")
def test_made_sets_give_what_is_expected(file):
    expected = json.loads(file.read_text("utf-8"))
    records = [record for record in expected.get("records", ()) if "joints2d_px" in record]
    if not records:
        pytest.skip("no hands in 3D")
    (name,) = names_for(file.parent)
    stated = re.search(r"tolerance ([\d.e-]+)", expected.get("note", ""))
    tolerance = float(stated[1]) if stated else TOLERANCE
    samples = samples_by_image(name, file.parent)
    for record in records:
        sample = samples[record["image"]]
        assert sample.rgb().shape == (sample.height, sample.width, 3)
        if expected.get("order"):
            known = np.array(record["valid"]) > 0
            pixels, joints_mm = in_set_order(sample, "keypoints_px"), in_set_order(sample, "keypoints_m") * 1e3
            assert np.array_equal(np.isfinite(pixels).all(axis=1), known)
            np.testing.assert_allclose(pixels[known], np.array(record["joints2d_px"])[known], atol=tolerance)
            given = np.array(record["joints3d_cam_mm"])[known]
            np.testing.assert_allclose(joints_mm[known], given, atol=tolerance)
            continue
        hand = hand_of(sample, record)
        np.testing.assert_allclose(hand.keypoints_px, record["joints2d_px"], atol=tolerance)
        np.testing.assert_allclose(hand.keypoints_m * 1e3, record["joints3d_mm"], atol=tolerance)
        np.testing.assert_allclose(sample.camera.K, record["K"])
        assert np.array_equal(hand.valid_m, np.array(record["valid"]) > 0)
        scale = sample.width / record["width"]
        assert sample.height / record["height"] == pytest.approx(scale)
        assert scale == 1 or sample.reduced
        for key, tag in (("sample", "sample"), ("version", "version")):
            assert sample.tags.get(tag) == record.get(key)
        if "palm_mm" in record:
            assert hand.derived == (0,)
            np.testing.assert_allclose(hand.extra["palm_m"] * 1e3, record["palm_mm"], atol=TOLERANCE)
        if "object_translation_mm" in record:
            (object_label,) = [instance for instance in sample.instances if instance.kind == "object"]
            np.testing.assert_allclose(object_label.extra["pose_world_m"][:3, 3] * 1e3, record["object_translation_mm"])
        if "joints3d_world_mm" in record:
            world = np.array(record["joints3d_world_mm"]) / 1e3
            np.testing.assert_allclose(sample.camera.from_world(world), hand.keypoints_m, atol=1e-7)
        if "depth_m" in expected:
            np.testing.assert_allclose(sample.depth(), expected["depth_m"], atol=TOLERANCE)
    for image in expected.get("no_hand", ()):
        assert [instance.kind for instance in samples[image].instances if instance.kind == "hand"] == []
    for record in expected.get("evaluation", ()):
        (hand,) = [instance for instance in samples[record["image"]].instances if instance.kind == "hand"]
        np.testing.assert_allclose(hand.keypoints_m[0] * 1e3, record["root_mm"], atol=TOLERANCE)
        assert list(hand.box) == record["bbox_xyxy"]
        assert not hand.valid_m[1:].any()
    skipped = [one.id for dataset in opened(name, file.parent) for one in dataset.skipped]
    assert skipped == expected.get("skipped", [])


def test_masks_are_read_on_request(copied):
    for sample in open_dataset("rhd", copied("rhd")):
        left, right = (hand.mask() for hand in sample.instances)
        assert left.shape == (sample.height, sample.width)
        assert left.any()
        assert not (left & right).any()
    sample = next(one for one in open_dataset("dexycb", copied("dexycb")) if one.instances[0].kind == "hand")
    assert sample.instances[0].mask().shape == (sample.height, sample.width)
    hand = open_dataset("freihand", copied("freihand"), vertices=True)[0].instances[0]
    assert hand.mask().any()
    assert hand.vertices_m.shape == (778, 3)


def test_versions_of_freihand_share_their_labels(copied):
    root = copied("freihand")
    complete = open_dataset("freihand", root)
    parts = [open_dataset("freihand", root, versions=name) for name in ("gs", "hom", "sample", "auto")]
    assert [one.id for part in parts for one in part] == [one.id for one in complete]
    for same in zip(*parts, strict=True):
        assert len({one.sequence for one in same}) == 1
        assert len({one.instances[0].keypoints_m.tobytes() for one in same}) == 1
    assert {one.instances[0].mesh.pose.shape for one in complete} == {(48,)}
    for image in [one.image for one in complete if one.tags["version"] != "gs"]:  # as numbered in the complete set
        version, number = divmod(int(image.stem), len(parts[0]))
        shutil.copy(image, image.with_name(f"{32560 * version + number:08d}.jpg"))
    frames = [one.frame for one in open_dataset("freihand", root, versions="sample")]
    assert frames == [*range(65120, 65120 + len(parts[0]))]


def test_captures_of_interhand_are_names_and_annotations_have_own_ids(copied):
    root = copied("interhand")
    expected = {one.image_id: one.instances[0].keypoints_m for one in open_dataset("interhand2.6m", root)}
    (path,) = root.glob("annotations/*/*_data.json")
    content = json.loads(path.read_text("utf-8"))
    names = {one["capture"]: f"0{one['capture']}-studio" for one in content["images"]}
    for image, label in zip(content["images"], content["annotations"], strict=True):
        image["capture"] = names[image["capture"]]
        label["joint_valid"] = np.ravel(label["joint_valid"]).tolist()
    content["images"].reverse()
    path.write_text(json.dumps(content), "utf-8")
    for other in set(root.glob("annotations/*/*[ad].json")) - {path}:
        tables = json.loads(other.read_text("utf-8"))
        other.write_text(json.dumps({names[int(key)]: value for key, value in tables.items()}), "utf-8")
    for sample in open_dataset("interhand2.6m", root):
        np.testing.assert_array_equal(sample.instances[0].keypoints_m, expected[sample.image_id])
    content["annotations"][1]["id"] = content["annotations"][0]["id"]
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match="several annotations have the id"):
        open_dataset("interhand2.6m", root)


def test_lists_of_who_annotated_choose_samples(copied):
    root = copied("interhand")
    complete = open_dataset("interhand2.6m", root)
    (folder,) = (root / "annotations").glob("*/")
    with pytest.raises(InputError, match="aid_human"):
        open_dataset("interhand2.6m", root, annotations="human")
    chosen = [one.tags["annotation_id"] for one in complete][::3]
    (folder / f"aid_human_annot_{folder.name}.txt").write_text("\n".join(map(str, chosen)), "utf-8")
    human = open_dataset("interhand2.6m", root, annotations="human")
    assert [one.tags["annotation_id"] for one in human] == chosen
    (folder / f"aid_human_annot_{folder.name}.txt").write_text(f"{chosen[0]}\n987654321", "utf-8")
    with pytest.raises(InputError, match="lists 1 annotations, such as 987654321, which"):
        open_dataset("interhand2.6m", root, annotations="human")


@pytest.mark.slow
def test_splits_of_dexycb_need_complete_subjects(copied):
    root = copied("dexycb")
    with pytest.raises(InputError, match="100 sequences"):
        open_dataset("dexycb", root, "s0-train")
    (sequence,) = [path.parent for path in root.glob("*/*/meta.yml")]
    meta = yaml.safe_load((sequence / "meta.yml").read_text("utf-8"))
    (sequence / "meta.yml").write_text(yaml.safe_dump(meta | {"serials": meta["serials"][::-1]}), "utf-8")
    views = [sample.view for sample in open_dataset("dexycb", root)]
    assert views == sorted(views)
    for number in range(99):
        twin = sequence.with_name(f"{sequence.name}_{number:02d}")
        twin.mkdir()
        shutil.copy(sequence / "meta.yml", twin)
    complete = open_dataset("dexycb", root, check="none")
    # The first subject: every fifth sequence is held back in s0, nobody in s1, no early camera in s2, objects in s3.
    shares = {"s0": (80, 20, 0), "s1": (100, 0, 0), "s2": (100, 0, 0), "s3": (75, 10, 15)}
    for setup, parts in shares.items():
        for part, share in zip(("train", "val", "test"), parts, strict=True):
            if share:
                dataset = open_dataset("dexycb", root, f"{setup}-{part}", check="none")
                assert len(dataset) * 100 == len(complete) * share
            else:
                with pytest.raises(InputError, match="belongs to the split"):
                    open_dataset("dexycb", root, f"{setup}-{part}", check="none")
    for meta in root.glob("*/*/meta.yml"):  # cameras 7 and 0 of eight, in this order
        text = meta.read_text().replace("836212060125", "932122062010")
        meta.write_text(text.replace("839512060362", "836212060125"))
    for part, serial in (("train", "836212060125"), ("test", "932122062010")):
        dataset = open_dataset("dexycb", root, f"s2-{part}", check="none")
        assert {dataset._sequences[number].cameras[view] for number, view in dataset._rows} == {serial}


@pytest.mark.parametrize("name", ["dexycb", "ho3d-v2"])
def test_converted_objects_keep_their_ids_next_to_hands(copied, name, tmp_path):
    (dataset, *_) = opened(name, copied(re.match("[a-z]+(3d)?", name)[0]))
    convert_dataset(dataset, tmp_path / "x.json")
    written = COCO(str(tmp_path / "x.json"))
    found, classes = [one for sample in dataset for one in sample.instances], dataset.categories()
    for record, one in zip(written.anns.values(), found, strict=True):
        assert record["category_id"] == one.category_id or (one.category_id, one.kind) == (None, "hand")
        names = classes[record["category_id"]], written.cats[record["category_id"]]["name"]
        assert set(names) == {one.category or one.kind}
        if (mask := one.mask()) is not None and mask.any():
            encoded = written.annToRLE(record)
            assert record["area"] == mask_functions.area(encoded)
            assert one.kind == "hand" or record["bbox"] == mask_functions.toBbox(encoded).tolist()


NUMBER = r"-?\d+\.\d+(e-?\d+)?"
DAMAGES = [
    ("interhand2.6m", "*_camera.json", lambda text: text.replace('"campos"', '"campus"'), r"camera\.json.*campos"),
    ("interhand2.6m", "*_data.json", lambda text: text.replace("interacting", "clapping", 1), r"hand_type 'clapp"),
    ("interhand2.6m", "*_data.json", lambda text: text.replace('"bbox": [', '"bbox": [7, ', 1), "bbox has 5 numbers"),
    ("interhand2.6m", "*Annot.json", lambda _: '{"0": {"32523": 7, "62432": 7}}', r"json: 0\.32523 is no object"),
    ("freihand", "training_mano.json", lambda text: re.sub(NUMBER, "NaN", text), "MANO's pose of instance 0 has"),
    ("freihand", "training_xyz.json", lambda text: re.sub(NUMBER, "1e999", text), r"xyz\.json: \[0\] has infinite"),
    ("fpha", "skeleton.txt", lambda text: text.replace(" ", " 3 ", 1), "line 1 has 65 numbers; expected 64"),
    ("dexycb", "meta.yml", lambda text: text.replace("num_frames", "number"), r"meta\.yml has no 'num_frames'"),
    ("dexycb", "mano.yml", lambda text: text.rstrip().rpartition("\n")[0], r"mano\.yml: betas has 9"),
    ("ho3d-v2", "train.txt", lambda text: text.replace("/", " "), r"train\.txt: line 1"),
    ("ho3d-v3", "train.txt", lambda text: text, r"\.png is of version 2"),
    ("hagrid", "one.json", lambda text: re.sub(NUMBER, "NaN", text), "box of instance 0 has a value"),
    ("cub200", "images.txt", lambda text: text[: len(text) // 2], r"images\.txt has no line for image"),
]


@pytest.mark.parametrize(("name", "pattern", "damage", "message"), DAMAGES)
def test_damage_is_named_with_file_and_field(copied, name, pattern, damage, message):
    root = copied(re.match("[a-z]+(3d)?", name)[0])
    for path in root.rglob(pattern):
        path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(InputError, match=message) as caught:
        open_dataset(name, root, check="all")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("rhd", "*.pickle"), ("stb", "*.mat"), ("ho3d-v2", "train/*/meta/*0.pkl"), ("dexycb", "labels_000001.npz")],
)
@pytest.mark.parametrize("parts", [2, 10**9, 0])
def test_cut_and_other_binary_files_are_named(copied, name, pattern, parts):
    root = copied(re.match("[a-z]+(3d)?", name)[0])
    for path in root.rglob(pattern):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // parts] if parts else pickle.dumps({"0": {}}))
    with pytest.raises(InputError, match=pattern.rpartition("*")[2].replace(".", r"\.")):
        open_dataset(name, root, check="all")


@pytest.mark.parametrize("name", ["rhd", "ho3d-v2"])
def test_a_pickle_that_would_run_something_is_refused(copied, name, tmp_path):
    root = copied(re.match("[a-z]+(3d)?", name)[0])
    trace = tmp_path / "ran"

    class Runs:
        def __reduce__(self):
            return (type(trace).touch, (trace,))

    for path in [*root.rglob("*.pickle"), *root.rglob("*.pkl")]:
        path.write_bytes(pickle.dumps({0: Runs(), "objRot": Runs()}))
    with pytest.raises(InputError, match="nothing was run"):
        open_dataset(name, root, check="all")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["interhand2.6m", "stb", "rhd", "freihand", "ho3d-v2", "ho3d-v3", "dexycb", "fpha"])
def test_an_empty_folder_is_refused_with_the_expected_files_and_their_source(name, tmp_path):
    with pytest.raises(InputError, match="missing") as caught:
        open_dataset(name, tmp_path)
    assert dataset_entry(name).where in str(caught.value)
    with pytest.raises(InputError, match="no such folder"):
        open_dataset(name, tmp_path / "nowhere")
