import operator
import os
import signal
import sys

import pytest

from sonjit.errors import InputError, JobError, MissingExtraError
from sonjit.pools import run_calls


def fail(kind, *arguments):
    raise kind(*arguments)


def test_a_pool_gives_what_this_process_gives():
    calls = [(k, 2) for k in range(5)]
    here = list(run_calls(pow, calls))
    assert here == [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]
    assert sorted(run_calls(pow, calls, jobs=2)) == here
    assert list(run_calls(pow, calls, jobs=2, ordered=True)) == here


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_result_may_be_an_error(jobs):
    results = dict(run_calls(operator.itemgetter(0), [((JobError("a"),),), ((1,),)], jobs=jobs))
    assert str(results[0]) == "a"
    assert results[1] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ((InputError, "a.png"), InputError),
        ((JobError, "a.png"), JobError),
        ((MissingExtraError, "a.png", "heic"), JobError),
    ],
)
def test_an_error_crosses_from_a_worker(raised, kind):
    with pytest.raises(kind, match=r"a\.png"):
        list(run_calls(fail, [raised, raised], jobs=2))


def test_a_worker_ended_from_outside_is_one_line():
    with pytest.raises(JobError, match="fewer --jobs"):
        list(run_calls(os._exit, [(1,), (1,)], jobs=2))


def test_workers_leave_the_interrupt_to_the_parent():
    assert {result for _, result in run_calls(signal.getsignal, [(signal.SIGINT,)] * 2, jobs=2)} == {signal.SIG_IGN}


def test_no_process_is_refused():
    with pytest.raises(InputError, match="--jobs 0: give at least 1"):
        list(run_calls(pow, [(1, 2)], jobs=0))


def test_ray_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="pip install ray"):
        list(run_calls(pow, [(1, 2)], workers="ray"))
