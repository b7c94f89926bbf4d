"""The command tree: help, version and exit statuses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import unmeasured

from sonjit import __version__
from sonjit._util.errors import OUT_OF_MEMORY
from sonjit._util.extensions import load_extensions
from sonjit._util.extras import install_command
from sonjit.cli import print_error
from sonjit.cli.commands import COMMANDS
from sonjit.media.tables import FORMATS

from .conftest import NEEDS_LAB, NEEDS_STUDIO

IS_BUILT = Path(__file__).parents[2].joinpath("web", "dist", "sonjit-web.js").is_file()


@pytest.mark.parametrize("command", ["hands", "demo", "models", "doctor"])
def test_every_command_has_help_with_an_example(sonjit, command):
    status, out, errors = sonjit(command, "--help")
    assert (status, errors) == (0, [])
    assert f"sonjit {command}" in out


def test_help_and_docs_name_every_table_format(sonjit):
    text = (Path(__file__).parents[2] / "docs" / "tables.md").read_text("utf-8")
    endings = [ending for ending, table_format in FORMATS.items() if table_format.in_threads]
    shown = sonjit("hands", "--help")[1]
    assert [ending for ending in endings if ending not in shown or ending not in text] == []


def test_version(sonjit):
    assert sonjit("--version") == (0, f"{__version__}\n", [])


def test_help_and_version_are_also_words(sonjit):
    for word in ("help", "version"):
        assert sonjit(word) == sonjit(f"--{word}")
    assert sonjit("help", "hands") == sonjit("hands", "--help")


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ("--show", "unknown option --show. There is no window. sonjit serve shows results live, and --draw FILE"),
        ("--overwrite", "unknown option --overwrite. Outputs of the same name are replaced."),
        ("--out x", "unknown option --out. --save FILE writes a table, and --draw FILE an image or a video"),
        ("--keep 1", "unknown option --keep. sonjit body, face and holistic keep the head of one person visible"),
        ("--blur", "unknown option --blur. --anonymise blur hides heads in drawings"),
        ("--model-dir x", "unknown option --model-dir. Did you mean --models-dir?"),
        ("--save x.mp4", "--save x.mp4: a table has no images. Use --draw x.mp4"),
        ("--save x.png", "--save x.png: a table has no images. Use --draw x.png"),
    ],
)
def test_options_of_other_programs_are_answered_with_what_to_use(sonjit, options, remedy):
    status, out, (line,) = sonjit("hands", "photo.jpg", *options.split())
    assert (status, out) == (2, "")
    assert line.startswith(f"sonjit: {remedy}")


@pytest.mark.parametrize("arguments", ["paint", "--frobnicate", "models paint", "demo --frobnicate"])
def test_a_wrong_call_is_one_line_and_status_2(sonjit, arguments):
    status, out, (line,) = sonjit(*arguments.split())
    assert (status, out, line.startswith("sonjit: ")) == (2, "", True)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("foo", "Unknown command foo. sonjit --help lists the commands."),
        ("bodies clip.mp4", "Unknown command bodies. Did you mean body?"),
        ("hand photo.jpg", "Unknown command hand. Did you mean hands?"),
        ("people a.jpg", "Unknown command people. Did you mean holistic?"),
        ("pose a.jpg", "Unknown command pose. Did you mean body?"),
        ("modls list", "Unknown command modls. Did you mean models?"),
        ("anotate", "Unknown command anotate. Did you mean annotate?"),
        ("photo.jpg", "photo.jpg is an input, not a command. Name a command first, such as sonjit hands photo.jpg"),
        ("clip.MP4 --save t.csv", "clip.MP4 is an input, not a command. Name a command first, such as sonjit hands"),
        ("camera:0", "camera:0 is an input, not a command. Name a command first, such as sonjit hands camera:0"),
        ("webcam", "webcam is an input, not a command. Name a command first, such as sonjit hands camera:0"),
        ("recordings", "recordings is an input, not a command. Name a command first, such as sonjit hands recordings"),
        ("hands webcam", "webcam: no such file or folder. Use camera:0 for a camera"),
        ("hands 0 a.jpg", "0: no such file or folder. Use camera:0 for a camera"),
    ],
)  # fmt: skip
def test_a_wrong_word_names_the_command(sonjit, tmp_path, monkeypatch, words, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    status, out, (line,) = sonjit(*words.split())
    assert (status, out) == (2, "")
    assert line.startswith(f"sonjit: {hint}")


@pytest.mark.parametrize(
    "arguments",
    [
        *("hands", "models add", "explain"),
        *(pytest.param(words, marks=NEEDS_LAB) for words in ("train cam --out", "synth")),
        pytest.param("annotate rank", marks=NEEDS_STUDIO),
        pytest.param("page", marks=pytest.mark.skipif(not IS_BUILT, reason="web/ is not built; type: make web")),
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(sonjit, arguments):
    status, _, (line,) = sonjit(*arguments.split(), "9" * 5000)
    assert (status, len(line) < 2100) == (2, True)
    assert line.startswith(("sonjit: 999", "sonjit: '999"))
    assert ": File name too long" in line


@pytest.mark.slow
def test_bash_completes_commands_options_choices_and_files(sonjit, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.chdir(tmp_path)
    assert sonjit("--install-completion")[0] == 0
    (tmp_path / "clip.mp4").touch()
    ask = '. .bashrc; COMP_WORDS=(sonjit "$@"); COMP_CWORD=$#; _sonjit; echo "${COMPREPLY[*]}"'
    for words, expected in {
        ("hol",): "holistic", ("hands", "--meas"): "--measures", ("body", "--model", "h"): "heavy",
        ("hands", "cl"): "clip.mp4", ("face", "a.png", "--draw", "cl"): "clip.mp4",
    }.items():  # fmt: skip
        done = subprocess.run(["bash", "-c", ask, "bash", *words], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 1, OUT_OF_MEMORY),
        (RuntimeError("can't allocate memory: you tried to allocate 8 bytes"), 1, OUT_OF_MEMORY),
    ],
)
def test_ctrl_c_and_too_little_memory_are_one_line(sonjit, monkeypatch, error, status, line):
    def stop():
        raise error

    monkeypatch.setattr("sonjit.cli.doctor.examine", stop)
    assert sonjit("doctor") == (status, "", [f"sonjit: {line}"])


def test_a_printed_error_is_one_line_whatever_it_holds(capsys):
    print_error("two\nlines  and \t tabs \x1b[31m")
    assert capsys.readouterr().err == "sonjit: two lines and tabs ?[31m\n"


ENCODED = """
import sys
sys.argv = ["sonjit"]
import sonjit.cli
from sonjit._util.json_text import json_from
sonjit.cli.main = lambda: print(json_from(["\\u0153uf", "\\u624b", "\\U0001f590", "\\udcff"])) or 0
from sonjit.__main__ import run
run()
"""


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_valid_in_every_encoding_of_a_pipe(encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", ENCODED], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode(encoding)) == ["\u0153uf", "\u624b", "\U0001f590", "\udcff"]


@pytest.mark.slow
def test_help_loads_nothing_heavy():
    heavy = {"cv2", "openvino", "av", "multiprocessing"}
    code = (
        "import sys, sonjit.cli; status = sonjit.cli.main(['hands', '--help']);"
        f"assert not {heavy} & set(sys.modules), sorted(sys.modules); sys.exit(status)"
    )
    # The measurement of coverage imports some of these modules.
    done = subprocess.run(
        [sys.executable, "-c", code], env=unmeasured.environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "package"), [("train", "sonjit-lab"), ("mesh", "sonjit-lab"), ("annotate", "sonjit-studio")]
)
def test_a_command_of_a_distribution_that_is_not_installed_names_it(refusal, monkeypatch, command, package):
    load_extensions()  # otherwise, the command adds them
    monkeypatch.delitem(COMMANDS, command, raising=False)
    assert refusal(command, "x") == f"sonjit: sonjit {command} needs {package}: {install_command(package)}"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["serve"])
def test_a_missing_extra_is_one_line_and_status_2(arguments):
    code = (  # a module that is None is not to be found
        "import sys; sys.modules.update(dict.fromkeys(('fastapi', 'uvicorn')));"
        f"import sonjit.cli; sys.exit(sonjit.cli.main({arguments.split()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(r"pip install .*\[serve\]'", done.stderr)
    assert done.stderr.count("\n") == 1


INTERRUPTED = """
import atexit, ctypes, os, signal, sys, time

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def interrupt_in_c():
    run = ctypes.pythonapi.PyRun_String
    run.restype, run.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object]
    try:
        run(b"interrupt()", 257, globals(), globals())
    except KeyboardInterrupt:
        raise RuntimeError("of a language that knows no better")

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            try:
                interrupt()
            except KeyboardInterrupt:
                os._exit(77)  # some modules in C++ abort

class Output:
    def write(self, text):
        if moment == "output":
            interrupt_in_c()
        elif moment != "exit":
            time.sleep(60)

    def flush(self):
        pass

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it switched off
sys.meta_path.insert(0, Watch())
sys.stdout = Output()
moment = sys.argv[1]
if moment == "exit":
    atexit.register(interrupt)
from sonjit.__main__ import run
sys.argv = ["sonjit", "models", "path"]
run()
"""


@pytest.mark.nightly_after(2)
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize(
    ("when", "status"), [("sonjit.cli", 130), ("sonjit.cli.models", 130), ("output", 130), ("exit", 0)]
)
def test_ctrl_c_while_modules_load_or_at_the_end_is_no_traceback(when, status):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, when], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == status
    assert [line for line in done.stderr.splitlines() if not line.startswith("sonjit: stopped")] == []


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_replaced_and_no_file_gets_their_number(tmp_path, closed):
    program = "import os, sys; from sonjit.cli.streams import prepare_streams; prepare_streams(); "
    program += f"print('out'); print('err', file=sys.stderr); open({str(tmp_path / 'a')!r}, 'w').write(str(os.dup(0)))"
    subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program], check=True)
    assert int((tmp_path / "a").read_text()) > 2
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m sonjit models list {closed}', sys.executable], capture_output=True, text=True
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


ENDS = """
import atexit, gc, sys, threading, time

class Object:
    def __del__(self):
        print("freed", flush=True)

kept = Object()
printed = threading.Event()
if sys.argv[1] == "thread":
    threading.Thread(target=lambda: (printed.wait(), time.sleep(0.5), print("thread", flush=True))).start()
if sys.argv[1] == "profile":
    sys.setprofile(eval("lambda *_: None", {}))  # does not keep this module
from sonjit import weights
from sonjit.__main__ import run
def models_folder():
    atexit.register(print, "atexit", flush=True)  # as libraries do
    printed.set()
    return f"collects {gc.isenabled()}"

weights.models_folder = models_folder
sys.argv = ["sonjit", "models", "path"]
run()
"""


@pytest.mark.parametrize(
    ("what", "printed"),
    [
        ("nothing", ["atexit"]),
        ("thread", ["thread", "atexit"]),
        ("profile", ["atexit", "freed"]),
    ],
)
def test_run_skips_the_end_of_the_interpreter_unless_a_profiler_waits_for_it(what, printed):
    command = [sys.executable, "-c", ENDS, what]
    done = subprocess.run(command, env=unmeasured.environment(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["collects True", *printed]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_fails():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "sonjit", "models", "path"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode != 0
    assert b"No space left" in done.stderr


def test_the_help_shows_no_default_of_an_option_that_is_off_or_empty(sonjit, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    for command in ("hands", "body", "report", "models list", "serve"):
        _, out, _ = sonjit(*command.split(), "--help")
        assert "--" in out
        assert not re.search(r"\[default: (\(\)|False|None|)\]", out)
    assert "[default: openvino]" in sonjit("hands", "--help")[1]
