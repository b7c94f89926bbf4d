from lab.tests.evaluation.conftest import hand_sample  # noqa: F401
from lab.tests.networks.conftest import published, weight_file  # noqa: F401
