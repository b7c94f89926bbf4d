"""Sources of the page: camera, videos and folders; and the files that it writes."""

import csv
import json
import re
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from sonjit.media import open_source

from .conftest import run

pytestmark = pytest.mark.browser


def test_the_camera_that_is_chosen_is_the_one_used(page):
    used = "return document.getElementById('video').srcObject?.getVideoTracks()[0].getSettings().deviceId"
    page.start()
    cameras = page.wait(lambda: page["camera-chooser"].find_elements("css selector", "option")[1:], "cameras by name")
    assert all(camera.get_attribute("textContent") for camera in cameras)
    chosen = cameras[0].get_attribute("value")
    page.choose("camera-chooser", chosen)
    page.wait(lambda: page.browser.execute_script(used) == chosen, "that camera")
    page.wait(lambda: page.status == "running" and page.ink, "a drawing")


def test_a_video_is_paused_stepped_through_and_keeps_its_drawing_at_the_end(page, demo_clip):
    page.upload("source-file", demo_clip[0])
    page.wait(lambda: page.latest.get("hands"), "hands")
    page.click("play-pause")
    page.wait(lambda: page["status"].text == "Paused", "a pause")
    page.choose("position", "4")
    page.wait(lambda: 3.9 < page.latest.get("time", 0) < 4.1, "the image at 4 s")
    before = page.latest["time"]
    page.click("step-forward")
    page.wait(lambda: before < page.latest.get("time", 0) < before + 0.05, "the next image")
    page.click("step-back")
    page.wait(lambda: page.latest.get("time") == before, "the image before")
    page.choose("position", "11.5")
    page.choose("speed", "2")
    page.click("play-pause")
    ended = "return document.getElementById('video').ended"  # a busy browser skips callbacks of the last images
    page.wait(lambda: page.browser.execute_script(ended) and page.latest.get("time", 0) > 11.6, "the end", 30)
    assert page.status == "running"
    assert page.ink or not page.latest["hands"]
    page.click("loop")
    page.click("play-pause")
    page.wait(lambda: 0 < page.latest.get("time", 99) < 5, "the beginning again")


def thumbnails(page):
    return page["thumbnails"].find_elements("tag name", "button")


def test_a_folder_and_its_tables(page, images):
    page.upload("source-folder", images)
    page.wait(lambda: page.state["frames"] == 1 and len(thumbnails(page)) == 3, "the first image and all thumbnails")
    page.click("step-forward")
    page.wait(lambda: page.state["frames"] == 2 and thumbnails(page)[1].get_attribute("aria-current"), "the second")
    page.click("step-back")
    page.click("play-pause")
    page.wait(lambda: page.state["frames"] == 3, "three frames")
    document = json.loads(page.download("download-json", ".json").read_text("utf-8"))
    with page.download("download-csv", ".csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [len(frame["hands"]) > 0 for frame in document["frames"]] == [True, False, True]
    assert [frame["source"].rpartition("/")[2] for frame in document["frames"]] == ["1.png", "2.png", "3.png"]
    assert {row["frame"] for row in rows} == {"0", "1", "2"}
    points = [point for frame in document["frames"] for hand in frame["hands"] for point in hand["keypoints"]]
    filled = [row for row in rows if row["keypoint"]]
    assert [(float(row["x"]), float(row["y"]), row["name"]) for row in filled] == [
        (point["x"], point["y"], point["name"]) for point in points
    ]


def test_a_snapshot_holds_image_and_drawing(shown, photo):
    shown.wait(lambda: shown.ink, "a drawing")
    rgb = cv2.imread(str(shown.download("snapshot", ".png")))[..., ::-1].astype(int)
    assert rgb.shape == photo.shape
    differs = (abs(rgb - photo) > 40).any(axis=2)
    assert 0 < differs.mean() < 0.5


def test_a_recording_is_a_video_and_its_frames(page):
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands"), "hands")
    page.click("record")
    count = page.state["frames"]
    page.wait(lambda: page.state["frames"] > count + 10, "ten frames")
    page.click("record")
    links = page.wait(lambda: page["recordings"].find_elements("tag name", "a"), "links")
    files = {link.get_attribute("download").rpartition(".")[2]: link for link in links}
    assert re.search(r"Recording: \d+\.\d s \(\d+ frames\)", page["recordings"].text)
    page.choose("language", "ko")
    page.wait(lambda: re.search(r"녹화: \d+\.\d초\(\d+프레임\)", page["recordings"].text), "the bar in Korean")
    assert "표(.csv)" in page["recordings"].text
    page.choose("language", "en")
    lines = page.download(files["jsonl"], ".jsonl").read_text("utf-8").splitlines()
    assert len(lines) > 10
    assert all(json.loads(line) for line in lines)
    with open_source(page.download(files["webm"], ".webm")) as source:
        assert next(iter(source)).rgb.shape[2] == 3


@pytest.mark.nightly
def test_the_files_of_the_view_can_be_measured(page, images, server):
    page.upload("source-folder", images)
    page.wait(page["measure-all"].is_displayed, "the button")
    page.click("measure-all")
    (name,) = page.wait(lambda: page.browser.find_elements("id", "measure-name"), "the chosen files")
    assert "3" in name.text
    assert page["measure-hands"].is_selected()  # what the view detects
    page.click("measure-face")
    page.click("job-start")
    csv_link = "#downloads a[href$='result.csv']"
    (link,) = page.wait(lambda: page.browser.find_elements("css selector", csv_link), "the files of the result", 60)
    address = link.get_attribute("href")
    fetch = "const answer = await fetch(given[0]); return [answer.status, await answer.text()]"
    status, text = run(page.browser, fetch, address)
    assert status == 200
    assert len(list(csv.DictReader(text.splitlines()))) > 20
    assert "Hands, Face" in page.browser.find_element("css selector", ".breadcrumb").text
    with urllib.request.urlopen(f"{server.url}/v1/jobs") as answer:
        assert any(job["id"] in address for job in json.load(answer))


@pytest.mark.nightly
def test_hidden_faces_are_chosen_while_a_video_is_paused_and_stay_hidden(page):
    """One setting, with the detectors and with what to measure. An open list keeps the entry that keys mark."""
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands"), "hands")
    page.click("play-pause")
    page.wait(lambda: page.state["paused"], "a paused video")
    hiding = page["style-anonymise"]
    assert hiding.is_displayed()
    assert page.label_of("style-anonymise").text == "Hide faces"
    hiding.send_keys(Keys.ARROW_DOWN)
    page.wait(lambda: page.state["style"]["anonymise"] == "blur", "the choice")
    page.wait(lambda: page.latest.get("covered"), "the heads of the paused image")
    page.click("play-pause")
    frame = page.latest["frame"]
    page.wait(lambda: page.latest.get("frame", 0) > frame + 5 and page.latest.get("covered"), "hidden heads", 90)
    assert hiding.get_attribute("value") == "blur"
    page.click("measure-all")
    page.wait(lambda: page.browser.find_elements("id", "measure-anonymise"), "the same setting")
    assert page.label_of("measure-anonymise").text == "Hide faces"
    assert page["measure-anonymise"].get_attribute("value") == "blur"
    page.choose("measure-anonymise", "none")
    page.click("task-watch")
    assert hiding.get_attribute("value") == "none"


@pytest.mark.nightly
def test_each_page_has_its_own_detectors_and_measures_what_it_detects(page):
    def on():
        return {kind for kind, one in page.state["detectors"].items() if one["on"]}

    page.click("task-avatar")
    page.wait(lambda: on() == {"holistic"}, "a whole person on the page of the avatar")
    page.click("source-sample")
    page.click("measure-all")
    page.wait(lambda: page.browser.find_elements("id", "measure-holistic"), "what to measure")
    chosen = [kind for kind in ("hands", "face", "body", "holistic") if page[f"measure-{kind}"].is_selected()]
    assert chosen == ["holistic"]
    page.click("measure-body")  # a part of the person, whose drawings would be doubled
    assert page["measure-body"].is_selected()
    assert not page["measure-holistic"].is_selected()
    page.click("task-gestures")
    page.wait(lambda: on() == {"hands"}, "hands on the page of gestures")
    page.tick("detector-face")
    page.click("task-watch")
    assert on() == {"hands"}
    page.tick("detector-holistic")
    assert on() == {"holistic"}
    page.click("task-gestures")
    assert on() == {"hands", "face"}
    page.browser.refresh()
    page.wait_until_ready()
    assert on() == {"hands"}
    page.click("task-watch")
    assert on() == {"holistic"}
    page.tick("detector-hands")
    assert on() == {"hands"}


@pytest.mark.nightly
def test_another_detector_is_offered_while_nothing_is_found(page, write_video, tmp_path):
    page.browser.expected.append("blob:")  # the page is left while its video plays
    page.upload("source-file", write_video(tmp_path / "wall.mp4", [np.full((240, 320, 3), 128, np.uint8)] * 300, 15))
    page.wait(page["offer"].is_displayed, "the offer", 60)
    assert page["offer"].text == "Nothing found. Also look for: Body"
    page.click("offer")
    page.wait(lambda: page.state["detectors"]["body"]["on"], "the detector of bodies")
    assert not page["offer"].is_displayed()
