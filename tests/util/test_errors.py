"""Failed allocations of Python and of each library are recognised."""

import cv2
import numpy as np
import pytest

from sonjit._util.errors import OUT_OF_MEMORY, JobError, check_memory, is_out_of_memory


def allocate_numpy():
    np.empty(1 << 60, np.uint8)


def allocate_torch():
    torch = pytest.importorskip("torch")
    torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize("allocate", [allocate_numpy, allocate_torch])
def test_failed_allocations_are_recognised(allocate):
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate()
    assert is_out_of_memory(caught.value)
    with pytest.raises(JobError, match=OUT_OF_MEMORY):
        check_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("Exception from src/inference/src/cpp/core.cpp:107:\nstd::bad_alloc"),
        cv2.error("OpenCV(4.13.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 921600 bytes"),
        ImportError("libopenvino_intel_cpu_plugin.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_errors_of_libraries_are_recognised(error):
    assert is_out_of_memory(error)


def test_other_errors_pass():
    check_memory(RuntimeError("shapes do not match"))
    check_memory(ValueError())
