"""A measured round is a real one: its sum is right, or there are no figures."""

import numpy as np
import pytest

from hushfold_bench.children import STEPS, Child, Server
from hushfold_bench.errors import BenchError, UsageError, WrongSum
from hushfold_bench.rounds import ENCODE, encoded_updates, measure_round
from hushfold_bench.setting import UPDATES, Setting, expected_sum


def test_a_round_sums_and_counts():
    setting = Setting(devices=14, lost=15, dimension=300)
    assert (setting.missing, setting.survivors) == (2, 12)
    steps = []
    figures = measure_round(setting, 2, encoded_updates(setting), lambda: steps.append(1))
    assert set(figures.device) == {*STEPS, ENCODE}
    assert set(figures.server) == set(STEPS)
    # Its own mask and one for each other device; the server takes off the survivors' own, and a pair for each loss.
    assert figures.device_masks == 14
    assert figures.server_masks == 12 + 2 * 12
    assert (figures.holders, figures.threshold) == (14, 8)
    assert figures.plaintext == 300 * 16 // 8
    assert figures.plaintext < figures.up < figures.plaintext + 50_000
    assert figures.down > 14 * 14  # the roster alone has more than that
    assert len(steps) == 14 * len(STEPS)


def test_figures_of_a_wrong_sum_are_not_given():
    """The devices that are not measured are told another vector than the one that is measured encodes."""
    setting = Setting(devices=8, lost=0, dimension=40)
    encoded = encoded_updates(setting)
    encoded[0] = encoded[0] ^ np.uint32(1)
    with pytest.raises(WrongSum, match="8 devices, 0 % of them lost: the sum is wrong"):
        measure_round(setting, 1, encoded)


@pytest.mark.slow
def test_a_round_in_the_sparse_graph_sums():
    setting = Setting(devices=140, lost=5, dimension=50)
    figures = measure_round(setting, 2, encoded_updates(setting))
    assert figures.holders == 69
    assert setting.survivors <= figures.server_masks <= setting.survivors * (1 + setting.missing)


def test_more_devices_than_there_are_cannot_be_measured():
    setting = Setting(devices=10, lost=20, dimension=10)
    with pytest.raises(UsageError, match="9 devices are to be measured and 2 to be lost, out of 10"):
        measure_round(setting, 9, encoded_updates(setting))


def test_updates_repeat_and_follow_from_the_seed():
    setting = Setting(devices=8, lost=0, dimension=100, seed=3)
    assert np.linalg.norm(setting.update(1)) == pytest.approx(0.9, rel=1e-5)
    np.testing.assert_array_equal(setting.update(1), setting.update(1 + UPDATES))
    np.testing.assert_array_equal(setting.encoded(1), setting.encoded(1 + UPDATES))
    assert not np.array_equal(setting.update(1), setting.update(2))
    assert not np.array_equal(setting.update(1), Setting(8, 0, 100, seed=4).update(1))
    assert setting.identity(1).certificate.public_key != setting.identity(1 + UPDATES).certificate.public_key
    assert setting.random_bytes(1)(8) != setting.random_bytes(2)(8)


def test_the_sum_to_expect_is_plain_addition():
    encoded = [np.array([value, 255], np.uint32) for value in (1, 2, 4, 8)]
    assert expected_sum(encoded, [0, 1, 4, 7], 8).tolist() == [1 + 2 + 1 + 8, 4 * 255 % 256]


def test_what_fails_in_a_process_is_told_here():
    with Child(Server, Setting(devices=8, lost=0, dimension=10)) as server:
        with pytest.raises(BenchError, match="has nothing to say before the roster is there"):
            server.ask("announcement", 0)
        with pytest.raises(BenchError, match="Server failed with WireError"):
            server.ask("accept", 0, b"nonsense")
