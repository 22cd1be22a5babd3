"""The report's table of augmentation policies."""

from components.reporting.report import policy_rows


def test_joined_policy_that_was_chosen_is_marked() -> None:
    figures = {"none": 0.8, "hue": 0.9, "hue or shifts": 0.95, "hue or flips": 0.85}
    summary = {"policy": "hue|shifts", "images": 31, **{f"policy_auroc_{name}": figures[name] for name in figures}}

    assert policy_rows(summary) == [
        ("hue or shifts", 0.95, True),
        ("hue", 0.9, False),
        ("hue or flips", 0.85, False),
        ("none", 0.8, False),
    ]


def test_policy_that_the_line_names_compares_nothing() -> None:
    assert policy_rows({"policy": "photometric", "images": 16}) == []
