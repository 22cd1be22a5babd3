"""KFP components of the tabulation stage."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output

from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
def gather_cells(
    line: str,
    labels: list[str],
    results: Output[Dataset],
    cell_0: Input[Dataset],
    cell_1: Input[Dataset] = None,
    cell_2: Input[Dataset] = None,
    cell_3: Input[Dataset] = None,
    cell_4: Input[Dataset] = None,
    cell_5: Input[Dataset] = None,
    cell_6: Input[Dataset] = None,
    cell_7: Input[Dataset] = None,
) -> None:
    """Enter the figures of up to eight cells in a table.

    Args:
        line: name of the experiment.
        labels: names and kind of each cell, as JSON.
        results: table of figures.
        cell_0: artifact of the first cell.
        cell_1: artifact of another cell.
        cell_2: artifact of another cell.
        cell_3: artifact of another cell.
        cell_4: artifact of another cell.
        cell_5: artifact of another cell.
        cell_6: artifact of another cell.
        cell_7: artifact of another cell.
    """
    import json

    from components.tabulation.gather import gather

    cells = (cell_0, cell_1, cell_2, cell_3, cell_4, cell_5, cell_6, cell_7)
    gather([json.loads(label) for label in labels], [cell.path for cell in cells if cell is not None], results.path)


@dsl.component(base_image=image("detection"), install_kfp_package=False)
def merge_results(
    line: str,
    results: Output[Dataset],
    part_0: Input[Dataset],
    part_1: Input[Dataset] = None,
    part_2: Input[Dataset] = None,
    part_3: Input[Dataset] = None,
    part_4: Input[Dataset] = None,
    part_5: Input[Dataset] = None,
    part_6: Input[Dataset] = None,
    part_7: Input[Dataset] = None,
) -> None:
    """Put up to eight tables of figures together.

    Args:
        line: name of the experiment.
        results: table of figures.
        part_0: table.
        part_1: another table.
        part_2: another table.
        part_3: another table.
        part_4: another table.
        part_5: another table.
        part_6: another table.
        part_7: another table.
    """
    from components.tabulation.gather import merge

    parts = (part_0, part_1, part_2, part_3, part_4, part_5, part_6, part_7)
    merge([part.path for part in parts if part is not None], results.path)


@dsl.component(base_image=image("detection"), install_kfp_package=False)
def draw_page(line: str, experiment: str, settings: str, results: Input[Dataset], page: Output[HTML]) -> None:
    """Draw the page of an experiment.

    Args:
        line: name of the experiment's runs.
        experiment: table or figure of the paper.
        settings: what it was run with, as JSON.
        results: table of figures.
        page: self-contained HTML.
    """
    import json
    from datetime import UTC, datetime
    from pathlib import Path

    from components.tabulation.gather import read_results
    from components.tabulation.page import write_page

    found = read_results(results.path)
    write_page(experiment, found, json.loads(settings), Path(page.path), datetime.now(tz=UTC))
