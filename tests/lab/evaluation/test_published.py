import pytest

from sonjit._util.errors import InputError
from sonjit.lab.evaluation.protocols import list_protocols, load_protocol
from sonjit.lab.evaluation.published import (
    GroupSummary,
    ImpossibleTableError,
    check_summary,
    list_published,
    load_groups,
    load_table,
)

CARDS = [name for name in list_published() if name.startswith("card-")]


def test_only_the_impossible_figure_is_refused():
    refused = []
    for name in CARDS:
        for group in load_groups(name).groups:
            try:
                check_summary(group)
            except ImpossibleTableError as error:
                refused.append((name, group.model, group.factor, str(error)))
    assert [one[:3] for one in refused] == [("card-body", "lite", "gender")]
    assert "is outside of its range" in refused[0][3]


@pytest.mark.parametrize(
    "changed",
    [{"mean": 20.0}, {"mean": 2.0}, {"stdev": 9.0}, {"stdev": -1.0}, {"discrepancy": 7.0}, {"low": 12.0, "high": 5.0}],
)
def test_invalid_values_are_refused(changed):
    sound = {"low": 5.0, "high": 10.0, "mean": 7.0, "stdev": 2.0, "discrepancy": 5.0, "count": 3}
    check_summary(GroupSummary("any", "age", **sound))
    with pytest.raises(ImpossibleTableError, match="any, age"):
        check_summary(GroupSummary("any", "age", **(sound | changed)))


@pytest.mark.parametrize("name", list_protocols())
def test_protocols_are_complete(name):
    from sonjit.lab.datasets import dataset_entry
    from sonjit.lab.evaluation.models import ModelChoice
    from sonjit.lab.evaluation.run import evaluator_of

    protocol = load_protocol(name)
    for one in protocol.data:
        entry = dataset_entry(one.set)
        assert set(one.splits) <= set(entry.splits)
        assert set(one.options) <= set(entry.options)
    for table in protocol.tables:
        load_table(table)
    assert evaluator_of(protocol, ModelChoice("hands-full")).main == protocol.main


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InputError, match="mediapipe-card"):
        load_protocol("nothing")
    with pytest.raises(InputError, match="card-hands"):
        load_groups("nothing")
    with pytest.raises(InputError, match="use load_table"):
        load_groups("fpha")
    with pytest.raises(InputError, match="use load_groups"):
        load_table("card-hands")


@pytest.mark.parametrize("value", ["1", '"all"', "[1]", "{name = 1}", "[{unknown = 1}]"])
def test_a_protocol_with_values_of_another_type_is_refused_in_one_line(tmp_path, value):
    path = tmp_path / "own.toml"
    path.write_text(f'title = "Own"\nsource = ""\ntask = "detection"\nmain = "recall"\nunit = "%"\ndata = {value}\n')
    with pytest.raises(InputError, match=r"own\.toml: data\[0\]"):
        load_protocol(str(path))
