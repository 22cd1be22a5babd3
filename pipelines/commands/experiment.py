"""`vigil experiment`: a table or figure of the paper, made again with the user's data."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.commands.options import ClusterDefaults, Package
from pipelines.terminal import console, resumable

if TYPE_CHECKING:
    from pipelines.experiments.nodes import Cell
    from pipelines.experiments.request import Request

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="table1 to table3, fig2, fig5 to fig10, proxy, eq6, control, gain, or readme."),
]
Data = Annotated[str, typer.Option("--data", metavar="ROOT", help="Folder, or s3://BUCKET/PREFIX, of the classes.")]
Classes = Annotated[list[str], typer.Option("--classes", help="Paths of classes below ROOT, by comma or repeated.")]
Folder = Annotated[Path, typer.Option("--workdir", help="Folder of tables, pages and finished tasks.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.FIELD=VALUE", help="A setting, as in a line's YAML, or of quality or vqgan_clip."
    ),
]
Objects = Annotated[
    list[str] | None,
    typer.Option("--object", metavar="CLASS=NAME", help="Object's name, where it is not the class's; may be repeated."),
]
Extra = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=ROOT", help="Table 1: more images in ROOT/CLASS, such as of the web; may be repeated."),
]
Thresholds = Annotated[
    bool, typer.Option("--thresholds", help="Set thresholds too, which proxy does always: a training for every fold.")
]
Tables = Annotated[str, typer.Option(metavar="NAMES", help="readme: which of the documents' tables, by comma.")]
Into = Annotated[Path | None, typer.Option("--into", metavar="ROOT", help="readme: repository to renew.")]
Plan = Annotated[bool, typer.Option("--plan", help="Print the cells and the estimated time, and run nothing.")]


def experiment(
    name: Name,
    data: Data,
    classes: Classes,
    workdir: Folder = Path("build/experiments"),
    shots: Annotated[str, typer.Option(help="Numbers of given images, or all; by comma.")] = "1",
    seeds: Annotated[str, typer.Option(help="Seeds, by comma; five or more for an interval.")] = "0,1,2,3,4",
    detectors: Annotated[str, typer.Option(help="Detectors, by comma.")] = "patchcore",
    copies: Annotated[str, typer.Option(help="Table 3: numbers of generated images, by comma.")] = "1,10,20,30,50,100",
    profile: Annotated[str, typer.Option(help="Profile that the settings start from.")] = "embedded",
    layout: Annotated[str, typer.Option(help="mvtec, btad, loco or folder.")] = "mvtec",
    objects: Objects = None,
    extra: Extra = None,
    thresholds: Thresholds = False,
    settings: Settings = None,
    jobs: Annotated[int, typer.Option(min=1, help="Tasks at once, which share the processor's cores.")] = 1,
    tables: Tables = "control-128,control-256,gain-128,gain-256,fig5-256",
    into: Into = None,
    plan: Plan = False,
    package: Package = None,
    cluster_defaults: ClusterDefaults = None,
) -> None:
    """Make a table or figure of the paper again: a table of all figures, and a page.

    Finished tasks are kept below the working folder under all that their result depends on: a run that was killed goes
    on, to the same digits, and experiments share what they have in common.
    """
    options = locals().copy()
    from pipelines.experiments.catalogue import cells
    from pipelines.experiments.measured import README
    from pipelines.experiments.request import Request

    given = {field.name: options[field.name] for field in dataclasses.fields(Request)}
    request = Request(**{option: value for option, value in given.items() if value is not None})
    if name == README:
        _remake(request, tables.split(","), workdir, jobs, into)
        return
    found = cells(name, request.study(for_cluster=package is not None))
    if package is not None:
        from pipelines.experiments.dag import write_package

        write_package(package, name, found, request.summary(), cluster_defaults)
        console.print(str(package), soft_wrap=True)
    elif plan:
        _print_plan(found, workdir, jobs)
    else:
        from pipelines.experiments.local import run_experiment

        with resumable():
            result = run_experiment(name, found, request.summary(), workdir, jobs, _report)
        console.print(f"table: {result.table}\npage: {result.page}", soft_wrap=True)


def _report(done: int, total: int, what: str, seconds: float) -> None:
    console.print(f"{done}/{total} {what}: {seconds:.0f} s", soft_wrap=True)


def _remake(given: "Request", tables: Sequence[str], workdir: Path, jobs: int, into: Path | None) -> None:
    """Measure the documents' tables, print them, and renew a repository's."""
    import pandas as pd

    from pipelines.experiments.catalogue import cells
    from pipelines.experiments.local import run_experiment
    from pipelines.experiments.measured import markdown, refresh, remake

    def run(request: "Request") -> pd.DataFrame:
        found = cells(request.name, request.study(for_cluster=False))
        return pd.read_parquet(run_experiment(request.name, found, request.summary(), workdir, jobs, _report).table)

    with resumable():
        measured = remake(tables, given, workdir, run)
    for name in tables:
        console.print(f"{name}\n{markdown(measured[name])}", soft_wrap=True, markup=False)
    if into is not None:
        refresh(into, {name: measured[name] for name in tables})


def _print_plan(cells: "Sequence[Cell]", workdir: Path, jobs: int) -> None:
    from pipelines.experiments.estimate import estimate
    from pipelines.experiments.local import store_of
    from pipelines.experiments.nodes import in_order

    store = store_of(workdir, jobs)
    table = Table("class", "given", "seed", "method", "what", "state", title=f"{len(cells)} cells")
    for cell in cells:
        state = "finished" if store.finished(cell.node) else "to do"
        trained = ", ".join(f"{node.config.detector}/{node.config.training_set}" for node in cell.node.detectors)
        given = str(cell.shots or "all")
        table.add_row(cell.class_name, given, str(cell.seed), cell.method or "baselines", trained or cell.kind, state)
    console.print(table)
    rows = estimate(in_order(cells), store)
    tasks, finished, left = (sum(getattr(row, name) for row in rows) for name in ("tasks", "finished", "seconds"))
    table = Table("task", "number", "finished", "minutes left", "by", title="Estimated time, one task after the other")
    for row in rows:
        origin = "finished tasks here" if row.measured else "a rough guess"
        table.add_row(row.family, str(row.tasks), str(row.finished), f"{row.seconds / 60:.1f}", origin)
    table.add_section()
    table.add_row("all", str(tasks), str(finished), f"{left / 60:.1f}", "")
    console.print(table)
