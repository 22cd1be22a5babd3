"""`vigil drift`: whether the good images of a line still look and score as those of its data set."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from components.errors import check
from pipelines.terminal import console

if TYPE_CHECKING:
    from components.change.rule import Hint

_URI = "MLFLOW_TRACKING_URI"


def drift(
    line: Annotated[Path, typer.Argument(metavar="LINE.yaml", help="The production line.")],
    images: Annotated[str, typer.Option("--images", help="Folder or s3://BUCKET/PREFIX of new good images.")],
    detector: Annotated[
        str, typer.Option(help="champion, folder or s3://BUCKET/PREFIX of a trained detector, or none.")
    ] = "champion",
    tracking_uri: Annotated[str, typer.Option(envvar=_URI, help="MLflow, for the champion and for the record.")] = "",
    alpha: Annotated[float, typer.Option(help="Probability of a hint where nothing has changed.")] = 0.05,
    min_shift: Annotated[float, typer.Option(help="Least shift of the features, in standard deviations.")] = 0.25,
    max_false_alarm_rate: Annotated[float, typer.Option(help="Accepted share of good images called bad.")] = 0.05,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Page to write, .html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    package: Annotated[
        Path | None,
        typer.Option("--compile", metavar="PACKAGE.yaml", help="Write a pipeline for a schedule, measure nothing."),
    ] = None,
) -> None:
    """Compare new good images with those of the champion's training, and report whether to train again."""
    from components.drift.config import Config
    from pipelines.lines.line import load_line

    config = Config(alpha=alpha, min_shift=min_shift, max_false_alarm_rate=max_false_alarm_rate)
    if package is not None:
        from pipelines.dags.drift import write_package

        write_package(package, load_line(line), images, detector, config)
        console.print(f"package: {package}", soft_wrap=True)
        return
    from components.registry.promotion import CHAMPION
    from components.tracking.run import stage_run
    from pipelines.local.drift import measure_line

    if output is not None:
        check(output.suffix == ".html", "output", str(output), "a .html file")
        check(output.resolve().parent.is_dir(), "output", str(output), "a file in an existing folder")
    check(detector != CHAMPION or bool(tracking_uri), "tracking-uri", "", "MLflow's address, where the champion is")
    loaded = load_line(line)
    if tracking_uri:
        os.environ[_URI] = tracking_uri
    measured = measure_line(loaded, images, detector, config)
    summary = measured.summary()
    with stage_run(loaded.name, "drift") as run:
        run.log_params({"images": images, "detector": detector, "reference": measured.of})
        run.log_metrics({name: value for name, value in summary.items() if not isinstance(value, str)})
        run.log_tags({name: value for name, value in summary.items() if isinstance(value, str)})
        run.log_file(measured.html.encode(), "drift.html")
    if output is not None:
        output.write_text(measured.html, encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(measured.to_content(), indent=2, allow_nan=False))
        return
    _print(loaded.name, measured.hint, measured.of)
    if output is not None:
        console.print(f"page: {output}", soft_wrap=True)


def _print(line: str, hint: "Hint", of: str) -> None:
    from rich.table import Table

    title = f"{line}: {hint.new_images} new good images against {hint.reference_images} of {of}"
    table = Table("", "reference", "new", "difference", "p", title=escape(title))
    if hint.embedding is not None:
        table.add_row("features", "", "", f"{hint.embedding.distance:.2f} sd", f"{hint.embedding.p_value:.4f}")
    if (scores := hint.scores) is not None:
        table.add_row("scores: new is higher", "50 %", f"{scores.superiority:.0%}", "", f"{scores.p_value:.4f}")
        if scores.false_alarm_rate is not None:
            rates = (f"{scores.reference_false_alarm_rate:.1%}", f"{scores.false_alarm_rate:.1%}")
            table.add_row("over the threshold", *rates, "", f"{scores.false_alarm_p_value:.4f}")
    for name, shift in hint.statistics.items():
        values = (f"{shift.reference:.4f}", f"{shift.new:.4f}", f"{shift.new - shift.reference:+.4f}")
        table.add_row(name, *values, f"{shift.p_value:.4f}")
    console.print(table)
    colour = {"yes": "red", "no": "green"}.get(hint.retrain, "yellow")
    console.print(f"train again: [bold {colour}]{hint.retrain}[/]")
    for reason in hint.reasons:
        console.print(f"  {escape(reason)}", soft_wrap=True)
