"""What an operator is told of a task before it is launched: what it comes to, and what leads nowhere."""

import numpy as np
import pytest
from small_model import write_model
from task_files import task_file

from hushfold_protocol.privacy import round_curve
from hushfold_server.errors import TaskFileError
from hushfold_server.planning import encoding_for
from hushfold_server.shipped_models import ShippedModels
from hushfold_server.tasks import load_task
from hushfold_server.terms import terms_of

VALUES = 500
# A hundred devices, of whom 65 survive at least: what a device with the default policy takes part in.
USUAL = {"cohort": {"target": "100"}, "privacy": {"budget_epsilon": "8.0"}}


@pytest.fixture
def manifest(tmp_path):
    write_model(tmp_path, weights=bytes(4 * VALUES))
    return ShippedModels(tmp_path).manifest("next_word")


def changed(**changes):
    """The usual task, with changes to it."""
    return load_task(task_file(**{name: USUAL.get(name, {}) | changes.get(name, {}) for name in {*USUAL, *changes}}))


def test_a_usual_task_has_no_warning(manifest):
    spec = changed()
    terms = terms_of(spec, manifest)
    assert terms.warnings == ()
    assert terms.noise_multiplier == pytest.approx(4.0)
    curve = round_curve(encoding_for(spec, manifest.parts["adapter"].size), spec.cohort.parameters.noise_contributors)
    assert terms.round_epsilon == curve.epsilon(1e-6)
    assert str(terms) == (
        f"noise multiplier 4, modulo 2^32; 65 to 125 devices in a sum; "
        f"epsilon {terms.round_epsilon:.3g} a round at most, of 8 at delta 1e-06"
    )


def test_the_noise_that_a_target_asks_for_is_derived(manifest):
    terms = terms_of(changed(privacy={"noise_multiplier": None, "target_epsilon": "3.0"}), manifest)
    assert 1 < terms.noise_multiplier < 100
    assert 0 < terms.round_epsilon < 3.0 < 10 * terms.round_epsilon


def test_a_budget_that_pays_for_no_round_is_a_fault(manifest):
    epsilon = terms_of(changed(), manifest).round_epsilon
    terms_of(changed(privacy={"budget_epsilon": str(np.nextafter(epsilon, 9))}), manifest)
    with pytest.raises(TaskFileError) as caught:
        terms_of(changed(privacy={"budget_epsilon": str(np.nextafter(epsilon, 0))}), manifest)
    (fault,) = caught.value.faults
    assert fault.startswith(f"[privacy] budget_epsilon ({epsilon:g}) pays for no round: one costs epsilon ")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cohort": {"target": "20"}}, "floor of 13, at least 65 needed"),
        ({"cohort": {"gamma": "0.01"}}, "gamma of 0.01, at least 0.05 needed"),
        ({"privacy": {"delta": "1e-4"}}, "delta of 0.0001, at most 1e-05 allowed"),
        ({"schedule": {"join_delay_seconds": "0"}}, "a random wait of up to 0 seconds, 5 to 3600 allowed"),
    ],
)
def test_what_the_devices_of_most_apps_refuse_is_a_warning(manifest, changes, told):
    assert terms_of(changed(**changes), manifest).warnings == (f"devices with the default policy refuse this: {told}",)


@pytest.mark.parametrize(("multiplier", "hopeless"), [("65.0", False), ("66.0", True), ("1e12", True)])
def test_noise_that_drowns_every_update_is_a_warning(manifest, multiplier, hopeless):
    warnings = terms_of(changed(privacy={"noise_multiplier": multiplier}), manifest).warnings
    assert [warning.endswith("of a whole update (0.5): nothing can be learned") for warning in warnings] == (
        [True] if hopeless else []
    )


def test_more_rounds_than_the_budget_pays_for_are_a_warning(manifest):
    spec = changed(schedule={"rounds": "100000"})
    (warning,) = terms_of(spec, manifest).warnings
    paid = int(warning.removeprefix("the budget pays for ").split(" of 100000 rounds")[0])
    curve = round_curve(encoding_for(spec, manifest.parts["adapter"].size), spec.cohort.parameters.noise_contributors)
    assert (paid * curve).epsilon(1e-6) <= 8.0 < ((paid + 1) * curve).epsilon(1e-6)
    assert terms_of(changed(schedule={"rounds": str(paid)}), manifest).warnings == ()


@pytest.mark.parametrize("table", ["training", "server"])
def test_a_learning_rate_beyond_all_reason_is_a_fault(table):
    with pytest.raises(TaskFileError, match=rf"\[{table}\] learning_rate is 1e\+300; it must be at most 1000"):
        changed(**{table: {"learning_rate": "1e300"}})
