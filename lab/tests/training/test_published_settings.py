from benchmarks.official_settings import rows


def test_every_setting_equals_that_of_the_release_or_has_a_reason():
    compared = list(rows())
    assert len(compared) > 100
    assert not [row for row in compared if row[-1] == "missing"]
    for name, key, official, ours, verdict in compared:
        assert (verdict == "equal") or official != ours, (name, key)
