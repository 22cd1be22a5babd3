"""Checks a line's data set: what is read of it, how many images there are, and what they look like."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

from components.dataset.config import ALL_SHOTS, COVERAGE, Config
from components.dataset.shots import draw_shots
from components.listing.files import readable
from components.listing.layouts import Listing, SourceImage
from components.listing.opened import DataSet, opened
from components.storage.addresses import is_s3
from pipelines.checking.duplicates import check_duplicates
from pipelines.checking.findings import Findings, Level, counted, grouped, some
from pipelines.checking.pixels import check_pixels
from pipelines.lines.line import Line

_FETCHED = 32
"""Images that are fetched from an object store to be looked at."""
_FEW_TESTS = 10
_FEW_SHOTS = 10


def check_data(line: Line, findings: Findings, fetched: int = _FETCHED) -> None:
    """List the data set as a run does, draw its given images, and look at a sample of its files.

    Of a data set in an object store, `fetched` images are looked at, and the test split that is yet to be drawn out of
    the good images is not drawn.
    """
    config, whole = line.dataset, list[Listing]()

    def wanted(listing: Listing) -> Listing:
        whole.append(listing)
        return _sampled(listing, fetched) if is_s3(config.uri) else listing

    with findings.errors_as("data.listing"), _quiet(), opened(config.uri, config.layout, wanted=wanted) as dataset:
        sources = whole[0].sources if is_s3(config.uri) else dataset.sources(config.test_fraction)
        _check_listing(whole[0], findings)
        _check_counts(sources, config, findings)
        if not (whole[0].splits and is_s3(config.uri)):
            _check_tests(findings)
        present = dataset.listing.sources if is_s3(config.uri) else sources
        if not present:
            return
        looked_at = check_pixels(dataset, present, config, findings)
        findings.facts["pixels"] |= {"of": len(sources)}
        check_duplicates(dataset, present, looked_at, findings)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the listing logs out of the way: it is among the findings."""
    logger = logging.getLogger(DataSet.__module__)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _sampled(listing: Listing, number: int) -> Listing:
    """A listing of some images, evenly out of all, and their masks."""
    step = -(-len(listing.sources) // number) if number else 1
    return replace(listing, sources=listing.sources[::step] if number else (), others=())


def _check_listing(listing: Listing, findings: Findings) -> None:
    """What is left out, by its reason, and how names were read."""
    findings.facts["left_out"] = [asdict(found) for found in listing.left_out]
    kinds = {found.reason: found.kind for found in listing.left_out}
    for reason, paths in grouped((found.reason, found.path) for found in listing.left_out).items():
        level: Level = "note" if kinds[reason] == "hidden" else "warning"
        findings.add(level, "data.left_out", f"{len(paths)} left out ({reason}): {some(paths)}")
    for note in listing.notes:
        findings.add("note", "data.names", note)


def _check_counts(sources: Sequence[SourceImage], config: Config, findings: Findings) -> None:
    """Numbers of images, given and held out, and of defects with their masks."""
    tests = [source for source in sources if source.split == "test"]
    defects = Counter(readable(source.defect) for source in tests if source.defect)
    masked = Counter(readable(source.defect) for source in tests if source.defect and source.masks)
    counts: dict[str, dict[str, int]] = {}
    for source in sources:
        split = counts.setdefault(source.split, {"good": 0, "bad": 0, "masks": 0})
        split["bad" if source.defect else "good"] += 1
        split["masks"] += bool(source.defect and source.masks)
    findings.facts["images"] = counts
    findings.facts["defects"] = {name: {"images": defects[name], "masks": masked[name]} for name in sorted(defects)}
    with findings.errors_as("data.shots"):
        drawn = Counter(source.split for source in draw_shots(sources, config))
        findings.facts["given"] = {"shots": drawn["train"], "calibration": drawn["calibration"]}
        _check_given(drawn, counts["train"]["good"], config, findings)


def _check_tests(findings: Findings) -> None:
    """What the test split, once it is drawn, can show."""
    tests = findings.facts["images"].get("test", {"good": 0, "bad": 0})
    unmasked = [name for name, defect in findings.facts["defects"].items() if not defect["masks"]]
    if not tests["bad"]:
        message = "no labelled defects: AUROC and the like cannot be measured on real ones"
        findings.add("warning", "data.test", message)
    elif unmasked:
        findings.add("note", "data.masks", f"no masks of {some(unmasked)}: figures per pixel leave them out")
    if not tests["good"]:
        findings.add("warning", "data.test", "no good test images: false alarms cannot be measured")
    elif tests["good"] < _FEW_TESTS:
        message = f"{counted(tests['good'], 'good test image')}: one of them is {1 / tests['good']:.0%} of false alarms"
        findings.add("note", "data.test", message)


def _check_given(drawn: Counter[str], train: int, config: Config, findings: Findings) -> None:
    if drawn["train"] + drawn["calibration"] == 1:
        message = "one given image cannot show how good images vary: the threshold rests on it alone"
        findings.add("warning", "data.threshold", f"{message}; give more shots, or dataset.calibration")
    few = config.shots != ALL_SHOTS and config.shots <= _FEW_SHOTS and train > config.shots
    if few and config.choose != COVERAGE:
        message = f"{counted(config.shots, 'image')} of {train} drawn at random: dataset.choose: coverage takes those"
        findings.add("note", "data.choose", f"{message} that represent all best")
