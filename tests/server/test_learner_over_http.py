"""TFF stays the reference: what TFF's clients compute goes through HTTP and the secure sum, and the state is TFF's."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow_federated", reason="TensorFlow Federated is not installed")

from cohort import make_plan
from device_api import DeviceApi
from learning_fixtures import (
    PARTS,
    client_batches,
    dataset,
    deterministic_learning,
    simulated_device,
    tff_runtime,
    unpack,
)

from hushfold_protocol.plan import UpdateParameters
from hushfold_server.privacy_ledger import Charge, PrivacyLedger

pytestmark = [pytest.mark.tff, pytest.mark.slow]
__all__ = ["tff_runtime"]

CLIENTS = 4


class WithoutNoise(PrivacyLedger):
    """Lets a round without noise through, which the real ledger refuses: equality can be shown without noise only."""

    def charge(self, connection, plan, survivors, *, now):
        return Charge(plan.round_id.hex(), len(survivors), 0, float("inf"), plan.delta, now)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.usefixtures("tff_runtime")
def test_tff_clients_over_http_and_the_secure_sum_give_the_state_of_process_next(tmp_path, part):
    learning = deterministic_learning(part)
    state_type = learning.process.next.type_signature.parameter[0].member
    theirs = learning.process.initialize()
    ours = learning.state_from_tree(unpack(state_type, theirs))
    for number in range(2):
        data = [client_batches(10 * number + client) for client in range(CLIENTS)]
        theirs = learning.process.next(theirs, [dataset(batches) for batches in data]).state
        encoding = learning.encoding
        plan = replace(
            make_plan(floor=3, maximum=CLIENTS, gamma=0.0),
            round_id=bytes([number]) * 16,
            update=UpdateParameters(
                encoding.dimension, encoding.clip_norm, encoding.scale, encoding.bits, 0.0, 0, 0, encoding.beta
            ),
        )
        vectors = [simulated_device(learning, ours, batches) for batches in data]
        api = DeviceApi(tmp_path / str(number), plan, vectors, ledger=WithoutNoise)
        total, survivors = api.whole_round()
        ours = learning.update(ours, total.astype(np.uint32), survivors)
        expected = learning.state_from_tree(unpack(state_type, theirs))
        assert ours.leaves.keys() == expected.leaves.keys()
        for path, value in ours.leaves.items():
            np.testing.assert_array_equal(value, expected.leaves[path], err_msg=path)
