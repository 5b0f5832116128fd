"""A small task for the server's tests, as the text of its file."""

TABLES = {
    "task": {"name": '"words"', "population": '"en"', "model": '"next_word"', "part": '"adapter"'},
    "training": {"steps": "20", "learning_rate": "0.1", "max_examples": "100"},
    "cohort": {"target": "20"},
    "privacy": {"clip_norm": "0.5", "noise_multiplier": "4.0", "delta": "1e-6", "budget_epsilon": "6.0"},
    "schedule": {"rounds": "10"},
}


def task_file(*, without: str = "", **changes: dict[str, str | None]) -> str:
    """The task's TOML. A change names a table and its fields, as TOML values; None takes a field away."""
    lines = []
    for table in dict.fromkeys([*TABLES, *changes]):
        if table == without:
            continue
        fields = TABLES.get(table, {}) | changes.get(table, {})
        lines += [f"[{table}]", *(f"{field} = {value}" for field, value in fields.items() if value is not None)]
    return "\n".join(lines)
