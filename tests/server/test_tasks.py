"""Task files: what a short one stands for, and what a wrong one is told."""

import textwrap

import pytest
from task_files import TABLES, task_file

import hushfold_server.tasks
from hushfold_server.errors import TaskFileError
from hushfold_server.tasks import load_task


def faults(text):
    with pytest.raises(TaskFileError) as caught:
        load_task(text)
    return caught.value.faults


def test_the_example_in_the_documentation_loads():
    _, example = hushfold_server.tasks.__doc__.split("The least that a task needs:\n")
    assert load_task(textwrap.dedent(example)).name == "english-adapter"


def test_defaults_follow_the_target_and_the_part():
    spec = load_task(task_file())
    assert (spec.cohort.target, spec.cohort.maximum, spec.cohort.floor) == (20, 25, 13)
    assert spec.cohort.parameters.colluders == 1
    assert spec.moduli == (32,)
    assert load_task(task_file(task={"part": '"whole"'})).moduli == (16, 20)
    assert load_task(task_file(task={"part": '"whole"'}, privacy={"bits": "24"})).moduli == (24,)


@pytest.mark.parametrize(("target", "maximum", "floor"), [(1, 2, 1), (3, 4, 2), (100, 125, 65), (900, 1000, 585)])
def test_shares_of_the_target_round_up(target, maximum, floor):
    cohort = load_task(task_file(cohort={"target": str(target)}, privacy={"delta": "1e-9"})).cohort
    assert (cohort.maximum, cohort.floor) == (maximum, floor)


def test_given_values_win_over_defaults():
    spec = load_task(
        task_file(
            cohort={"maximum": "30", "floor": "15", "gamma": "0.1"},
            server={"optimizer": '"adam"', "learning_rate": "0.01"},
            report={"extrapolate_to": "10000"},
        )
    )
    assert (spec.cohort.maximum, spec.cohort.floor, spec.cohort.parameters.colluders) == (30, 15, 3)
    assert (spec.server.optimizer, spec.server.learning_rate) == ("adam", 0.01)
    assert spec.report.extrapolate_to == 10_000


def test_a_task_is_frozen():
    with pytest.raises(ValueError):
        load_task(task_file()).cohort.floor = 1


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_missing_table_is_named(table):
    assert faults(task_file(without=table)) == (f"the table [{table}] is missing",)


@pytest.mark.parametrize(("table", "field"), [(table, field) for table, fields in TABLES.items() for field in fields])
def test_a_missing_field_is_named(table, field):
    (fault,) = faults(task_file(**{table: {field: None}}))
    if field == "noise_multiplier":
        assert fault == "[privacy] exactly one of noise_multiplier and target_epsilon is needed; neither is given"
    else:
        assert fault == f"[{table}] {field} is missing"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"task": {"name": '"My Task"'}},
            "[task] name is 'My Task'; up to 64 lower-case letters, digits, - and _ are allowed",
        ),
        ({"task": {"model": '"gestures"'}}, "[task] model is 'gestures'; allowed are 'next_word' or 'voice'"),
        ({"task": {"part": '"half"'}}, "[task] part is 'half'; allowed are 'whole' or 'adapter'"),
        ({"training": {"step": "5"}}, "[training] step is unknown; did you mean steps?"),
        ({"training": {"steps": "2.5"}}, "[training] steps is 2.5; a whole number is needed"),
        ({"training": {"steps": "true"}}, "[training] steps is true; a whole number is needed"),
        ({"training": {"learning_rate": '"0.1"'}}, "[training] learning_rate is '0.1'; a number is needed"),
        ({"training": {"learning_rate": "0"}}, "[training] learning_rate is 0; it must be more than 0"),
        ({"training": {"learning_rate": "inf"}}, "[training] learning_rate is inf; a finite number is needed"),
        (
            {"server": {"optimizer": '"adam"', "momentum": "0.9"}},
            '[server] momentum is for the optimizer "sgd"; "adam" has moments of its own',
        ),
        ({"server": {"momentum": "1.0"}}, "[server] momentum is 1.0; it must be less than 1"),
        ({"cohort": {"target": "20000"}}, "[cohort] target is 20000; it must be at most 1000"),
        ({"cohort": {"floor": "21"}}, "[cohort] floor (21) is above target (20)"),
        ({"cohort": {"maximum": "19"}}, "[cohort] maximum (19) is below target (20)"),
        (
            {"cohort": {"floor": "5", "gamma": "0.2"}},
            "[cohort] gamma 0.2 of 25 devices tolerates 5 colluders, which leaves no honest noise at a floor of 5: "
            "raise floor or lower gamma",
        ),
        (
            {"privacy": {"target_epsilon": "2.0"}},
            "[privacy] exactly one of noise_multiplier and target_epsilon is needed; both are given",
        ),
        (
            {"privacy": {"target_epsilon": "7.0", "noise_multiplier": None}},
            "[privacy] target_epsilon (7) is above budget_epsilon (6)",
        ),
        ({"privacy": {"noise_multiplier": "0"}}, "[privacy] noise_multiplier is 0; it must be more than 0"),
        ({"privacy": {"bits": "33"}}, "[privacy] bits is 33; it must be at most 32"),
        (
            {"privacy": {"delta": "0.04"}},
            "[privacy] delta is 0.04; it must be well below 1 / [cohort] maximum, which is 0.04",
        ),
        (
            {"schedule": {"training_seconds": "30"}},
            "[schedule] join_delay_seconds (30) must be below training_seconds (30), or devices miss the round",
        ),
        (
            {"report": {"extrapolate_to": "10"}},
            "[report] extrapolate_to is 10; a cohort larger than [cohort] target (20) is needed",
        ),
        ({"chedule": {"rounds": "3"}}, "chedule is unknown; did you mean schedule?"),
    ],
)
def test_a_fault_says_what_was_given_and_what_is_allowed(changes, told):
    assert faults(task_file(**changes)) == (told,)


def test_several_faults_are_told_together():
    told = faults(
        task_file(
            task={"name": '"A"'},
            training={"steps": "0"},
            cohort={"target": "10", "floor": "11", "maximum": "9"},
            privacy={"delta": None, "epsilon": "3"},
        )
    )
    assert told == (
        "[task] name is 'A'; up to 64 lower-case letters, digits, - and _ are allowed",
        "[training] steps is 0; it must be at least 1",
        "[cohort] floor (11) is above target (10)",
        "[cohort] maximum (9) is below target (10)",
        "[privacy] delta is missing",
        "[privacy] epsilon is unknown; did you mean target_epsilon?",
    )


def test_a_default_does_not_blame_what_it_depends_on():
    assert faults(task_file(cohort={"target": '"ten"'})) == ("[cohort] target is 'ten'; a whole number is needed",)


def test_a_value_in_a_tables_place_is_told():
    assert faults("cohort = 20\n" + task_file(without="cohort")) == ("cohort is 20; a table [cohort] is needed",)


def test_broken_toml_is_told_with_its_line():
    (fault,) = faults("[task]\nname = words")
    assert fault.startswith("it is not valid TOML:")
    assert "line 2" in fault


def test_a_byte_order_mark_is_no_part_of_the_file():
    assert load_task("\ufeff" + task_file()) == load_task(task_file())


def test_what_is_nested_too_deeply_is_told():
    (fault,) = faults("a = " + 5000 * "[")
    assert fault == "it is not a file of tables and values: its lists are nested too deeply"


def test_the_message_lists_every_fault():
    with pytest.raises(TaskFileError, match=r"the task file has 2 faults:\n  - .*steps.*\n  - .*rounds"):
        load_task(task_file(training={"steps": None}, schedule={"rounds": None}))
