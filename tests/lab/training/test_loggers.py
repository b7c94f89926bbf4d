from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.lab.training import loggers
from sonjit.lab.training.loggers import MlflowLogger, WandbLogger

RGB = np.zeros((4, 5, 3), np.uint8)


@pytest.fixture
def installed(monkeypatch):
    """Provide a module in place of an optional package."""

    def install(module):
        monkeypatch.setattr(loggers, "require", lambda *_: None)
        monkeypatch.setattr(loggers, "import_module", lambda _: module)

    return install


def test_wandb_receives_values_and_images_and_resumes(installed, tmp_path):
    calls = []

    class Run:
        id = "r1"

        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finish")

    def init(**options):
        calls.append((options["name"], options["config"], options["id"]))
        return Run()

    installed(SimpleNamespace(init=init, Image=lambda rgb: rgb.shape))
    logger = WandbLogger(tmp_path, {"steps": 3}, 0)
    logger.log(1, {"loss": 0.5})
    logger.image(2, "crops", RGB)
    logger.close()
    assert calls == [(tmp_path.name, {"steps": 3}, None), (1, {"loss": 0.5}), (2, {"crops": (4, 5, 3)}), "finish"]
    WandbLogger(tmp_path, {"steps": 3}, 2)
    assert calls[-1] == (tmp_path.name, {"steps": 3}, "r1")


def test_mlflow_receives_settings_once_values_and_images(installed, tmp_path):
    calls = []

    class Client:
        def __getattr__(self, name):
            return lambda run, *values, **options: calls.append((name, run, *values[:2], *options.values()))

    started = []

    def start_run(run_id, run_name):
        started.append((run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="m1"))

    installed(SimpleNamespace(MlflowClient=Client, start_run=start_run, end_run=lambda _: None))
    logger = MlflowLogger(tmp_path, {"steps": 3}, 0)
    logger.log(1, {"loss": 0.5})
    logger.image(2, "crops", RGB)
    logger.close()
    assert [call[0] for call in calls] == ["log_param", "log_metric", "log_image", "set_terminated"]
    assert calls[:2] == [("log_param", "m1", "steps", "3"), ("log_metric", "m1", "loss", 0.5, 1)]
    MlflowLogger(tmp_path, {"steps": 3}, 2)
    assert started == [(None, tmp_path.name), ("m1", None)]
    assert len(calls) == 4
