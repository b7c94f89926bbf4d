"""Files of the page: no external resources, nothing that its policy forbids, all texts known."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

from sonjit._util.settings import declared_options
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.options import SmoothingName
from sonjit.gestures import classifier
from sonjit.gestures.control import ACTIONS
from sonjit.gestures.motion_finders import MOTIONS
from sonjit.media import DrawingStyle
from sonjit.results.measures import measure_names
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.server.errors import STATUS
from sonjit.server.options import known_options

PAGE = Path(str(files("sonjit.server"))) / "page"
MODULES = sorted(PAGE.rglob("*.js"))
SOURCES = sorted((Path(__file__).parents[3] / "web" / "src" / "page").glob("*.ts"))
WRITTEN = {"./kinds.json", "./engine/sonjit-web.js"}  # written by `sonjit page`
DOCUMENTS = sorted(PAGE.glob("*.html"))
FOLDERS = [PAGE / "i18n", PAGE / "annotate" / "i18n"]
KOREAN = [*(folder / "ko.json" for folder in FOLDERS), Path(str(files("sonjit.report"))) / "ko.json"]
EQUAL = {  # texts that are the same in every language: symbols, and names of protocols
    *("docs", "transport.image", "measure.x", "measure.y", "measure.z", "agreement.within", "latency.value"),
    *(f"map.action.{name}" for name in ("osc", "post", "websocket", "mqtt", "midi")),
}
LANGUAGES = json.loads((PAGE / "i18n" / "languages.json").read_text("utf-8"))
TEXTS = {name: json.loads((PAGE / "i18n" / f"{name}.json").read_text("utf-8")) for name in LANGUAGES}


@pytest.mark.parametrize("path", [*DOCUMENTS, *sorted(PAGE.glob("css/*.css")), *MODULES], ids=lambda path: path.name)
def test_nothing_is_loaded_from_other_hosts(path):
    text = re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)
    loading = r"""(?:\bsrc=|\bhref=|\burl\(|\bfrom\s|\bimport\(|@import\s)"""
    assert re.findall(loading + r"""\s*["']?(?:https?:)?//[^"')\s]+""", text) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_has_no_script_or_style_of_its_own(path):
    text = path.read_text("utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
    assert [body for body in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) if body.strip()] == []


@pytest.mark.parametrize("path", [*MODULES, *DOCUMENTS, *sorted(PAGE.glob("css/*.css"))], ids=lambda path: path.name)
def test_every_file_that_a_file_names_is_there(path):
    text = path.read_text("utf-8")
    named = re.findall(r"""(?:from|import\(|new URL\()\s*"(\.{1,2}/[\w./-]+)["#?]""", text)
    named += re.findall(r"""<(?:link|script|img|use)\b[^>]*?\b(?:src|href)="/?([\w./-]+\.\w+)["#?]""", text)
    assert [name for name in named if name not in WRITTEN and not (path.parent / name).exists()] == []


@pytest.mark.parametrize("language", TEXTS)
def test_every_requested_text_is_known(language):
    document = (PAGE / "index.html").read_text("utf-8")
    keys = set(re.findall(r'data-i18n(?:-label)?="([^"]+)"', document))
    for path in SOURCES:
        keys |= set(re.findall(r'\btext\(\s*"([^"]+)"', path.read_text("utf-8")))
        keys |= {f"error.{code}" for code in re.findall(r'new PageError\(\s*"(\w+)"', path.read_text("utf-8"))}
    assert keys - TEXTS[language].keys() == set()


@pytest.mark.parametrize("language", TEXTS)
def test_every_kind_model_and_option_has_its_text(language):
    options = {name for kind in KINDS for name in known_options(kind)} - {"model", "max_instances", "measures"}
    keys = {f"kind.{name}" for name in KINDS} | {f"model.{model}" for kind in KINDS.values() for model in kind.models}
    keys |= {f"one.{instance}" for kind in KINDS.values() for instance in kind.instances}
    keys |= {f"option.{name}{part}" for name in options for part in ("", ".hint")}
    keys |= {f"smoothing.{name}" for name in get_args(SmoothingName)}
    measures = {re.sub("_(rad|m)$", "", name) for kind in ("hand", "body", "face") for name in measure_names(kind)}
    keys |= {f"measure.{word}" for name in measures for word in re.split("_(?!arm)", name)}  # as in measures.js
    keys |= {f"shape.{word.lower()}" for name in BLENDSHAPES[1:] for word in re.split("(?=[A-Z])", name)}
    keys |= {"measure.gesture", "measure.score"}
    assert keys - TEXTS[language].keys() == set()


@pytest.mark.parametrize("language", TEXTS)
def test_every_setting_of_drawings_has_its_text_and_no_other_has(language):
    settings = declared_options(DrawingStyle)
    needed = {f"style.{name}" for name in settings}
    needed |= {f"style.{name}.{choice}" for name, setting in settings.items() for choice in setting.choices}
    further = {f"style.{name}.hint" for name in settings}
    further |= {f"style.{name}" for name in ("drawing", "colour.part", "colour.instance", "colour.single")}
    found = {key for key in TEXTS[language] if key.startswith("style.")}
    assert needed - found == set()
    assert found - needed - further == set()


@pytest.mark.parametrize("language", TEXTS)
def test_every_failure_has_an_instruction(language):
    texts = TEXTS[language]
    failures = [key for key in texts if key.startswith("error.") and not key.endswith(".do")]
    assert failures
    assert [key for key in failures if not texts.get(f"{key}.do")] == []


@pytest.mark.parametrize("language", TEXTS)
def test_every_refusal_of_the_server_has_its_text(language):
    others = {
        "not_found",
        "conflict",
        "too_slow",
    }  # no request of the page ends with these, or the page has its own text
    assert {f"error.{code}" for code in STATUS.keys() - others} - TEXTS[language].keys() == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_id_that_is_looked_for_is_there(path):
    document = "".join(one.read_text("utf-8") for one in DOCUMENTS)
    known = set(re.findall(r'\bid="([^"]+)"', document))
    ids = set(re.findall(r'(?:\bfind|getElementById)\(\s*"([\w-]+)",?\s*\)', path.read_text("utf-8")))
    assert ids - known == set()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
@pytest.mark.parametrize("language", LANGUAGES.keys() - {"en"})
def test_every_text_is_translated(language, folder):
    english, texts = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("en", language))
    assert texts.keys() == english.keys()
    assert {key for key, text in texts.items() if text == english[key]} - EQUAL == set()


@pytest.mark.parametrize("path", KOREAN, ids=lambda path: path.parent.parent.name)
def test_no_korean_text_has_a_particle_that_depends_on_a_value(path):
    """The particles after a name depend on its last sound, which names in Latin letters do not show."""
    texts = json.loads(path.read_text("utf-8")).values()
    particle = re.compile(r"\}[”’\"]?(은|는|이|가|을|를|과|와|으로|로)(?![가-힣])|\((은|는|이|가|을|를|과|와|으)\)")
    assert [text for text in texts if particle.search(text)] == []


@pytest.mark.parametrize("language", TEXTS)
def test_all_that_the_server_names_has_its_text(language):
    choices = {
        f"{name}.{choice}"
        for kind in KINDS
        for name, option in known_options(kind).items()
        for choice in option.choices
        if name not in ("model", "explain")  # these have texts of their own form
    }
    actions = {f"map.{part}.{action}" for action in ACTIONS for part in ("action", "target")}
    gestures = {f"gesture.{name}" for name in (*classifier.VOCABULARY.names, *MOTIONS)}
    assert (choices | actions | gestures) - TEXTS[language].keys() == set()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_the_list_of_languages_is_that_of_the_texts(folder):
    assert {path.stem for path in folder.glob("*.json")} - {"languages"} == LANGUAGES.keys()
