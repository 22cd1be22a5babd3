"""KFP component of the stage that draws synthetic defects."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.defect_synthesis.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
@documented_by(Config)
def defect_synthesis(
    line: str,
    reference: Input[Dataset],
    synthetic: Output[Dataset],
    metrics: Output[Metrics],
    families: list[str] = [
        "cut_paste",
        "scar",
        "texture",
        "blot",
        "scratch",
        "missing",
        "shifted",
        "blur",
        "colour",
    ],
    per_image: int = 9,
    limit: int = 600,
    seed: int = 0,
) -> None:
    """Draw synthetic defects, with masks, on the given and the calibration images.

    Args:
        line: name of the production line.
        reference: image set.
        synthetic: image set of bad images, whose defect is the family and whose source is the good image's id.
        metrics: counts.
    """
    from components.defect_synthesis.config import Config
    from components.defect_synthesis.synthesise import synthesise_defects
    from components.stage.run import stage

    with stage("defect_synthesis", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        run.finish(synthetic.path, synthesise_defects(reference.path, synthetic.path, config), metrics)
