"""Lines of the values in the rendered ConfigMap: the same lines as from files, whatever numbers they hold."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.dataset.config import ALL_SHOTS
from pipelines.lines.line import Line, load_line
from tests.charts.helm import ROOT, refusal, render, render_text
from tests.charts.toggles import LINE, TOGGLES

pytestmark = pytest.mark.chart

EXAMPLES = sorted((ROOT / "pipelines" / "examples").glob("*.yaml"))
_LIMIT = 1024 * 1024
_BASE = "image: {registry: images.example/vigil}\ns3: {existingSecret: store}"

_NUMBERS = """
seed: 1234567890
dataset: {uri: s3://lines/numbers, shots: all, image_size: 128}
vqgan: {iterations: 8, learning_rate: 1.0e-6, temperature: 0.30000000000000004, vq_weight: 1.0, restart_codes: no}
detection: {coreset_ratio: 0.05, rotation_step: 22.5}
prompts: {words: ["yes", "1e-06", "0123", "a: b # c", "größe", "tab\\there", "<&>"]}
schedule: {cron: "*/30 0,12 2-4 * JAN-MAR ?", enabled: off}
cluster: {task: {cpu: 0.5, memory: 8Gi, node_selector: {zone: "1"}}, retries: 0}
"""


def _loaded(files: dict[str, str], folder: Path) -> dict[str, Line]:
    lines = {}
    for name, text in files.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        line = load_line(path)
        lines[line.name] = line
    return lines


def _rendered(values: str, folder: Path) -> dict[str, Line]:
    data = render_text(f"{_BASE}\n{values}").of("ConfigMap", "vigil-lines")["data"]
    folder.mkdir()
    return _loaded(data, folder)


def _indented(text: str) -> str:
    return "".join(f"    {row}\n" for row in text.strip().splitlines())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_the_project_are_the_same_lines_as_values(example: Path, tmp_path: Path) -> None:
    text = example.read_text(encoding="utf-8")
    name = yaml.safe_load(text)["name"]
    expected = load_line(example)
    assert _rendered(f"lines:\n  {name}:\n{_indented(text)}", tmp_path / "lines") == {name: expected}


def test_numbers_and_texts_come_through_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "numbers.yaml"
    file.write_text(f"name: numbers\nobject: a part\n{_NUMBERS}", encoding="utf-8")
    expected = load_line(file)
    lines = _rendered(f"lines:\n  numbers:\n    object: a part\n{_indented(_NUMBERS)}", tmp_path / "lines")
    assert lines == {"numbers": expected}
    given, wanted = lines["numbers"].arguments(), expected.arguments()
    assert json.loads(given.pop("settings")) == json.loads(wanted.pop("settings"))
    assert given == wanted


@pytest.mark.parametrize(
    "number", ["1.0e-6", "1.5e-7", "-2.0e-9", "1.0e+22", "123456789", "-4", "0", "0.1", "2.5", "4.5e-06"]
)
def test_number_stays_the_same_number(number: str) -> None:
    line = f"{{object: a, dataset: {{uri: 's3://lines'}}, registration: {{x: {number}}}}}"
    values = f"{_BASE}\nlines: {{part: {line}}}"
    content = yaml.safe_load(render_text(values).of("ConfigMap", "vigil-lines")["data"]["part.yaml"])
    expected = yaml.safe_load(number)
    assert content["registration"]["x"] == expected
    assert type(content["registration"]["x"]) in (type(expected), int)


def test_name_is_the_key_and_may_be_repeated(tmp_path: Path) -> None:
    data = render({"lines": {"a.1": LINE, "b": {**LINE, "name": "b"}}}).of("ConfigMap", "vigil-lines")["data"]
    assert set(data) == {"a.1.yaml", "b.yaml"}
    assert set(_loaded(data, tmp_path)) == {"a.1", "b"}


def test_shots_may_be_all(tmp_path: Path) -> None:
    line = {**LINE, "dataset": {"uri": "s3://lines/a", "shots": "all"}}
    data = render({"lines": {"a": line}}).of("ConfigMap", "vigil-lines")["data"]
    assert _loaded(data, tmp_path)["a"].configs["dataset"].shots == ALL_SHOTS


def test_line_completes_the_defaults_of_the_cluster(tmp_path: Path) -> None:
    values = {**TOGGLES["cluster defaults"], "lines": {"a": {**LINE, "cluster": {"task": {"cpu": "4"}}}}}
    manifests = render(values)
    line, defaults = tmp_path / "a.yaml", tmp_path / "cluster.yaml"
    line.write_text(manifests.of("ConfigMap", "vigil-lines")["data"]["a.yaml"])
    defaults.write_text(manifests.of("ConfigMap", "-cluster-defaults")["data"]["cluster.yaml"])
    cluster = load_line(line, defaults).cluster
    assert (cluster.task.cpu, cluster.task.memory, cluster.vqgan.gpu) == ("4", "4Gi", 1)
    assert (cluster.config_map, cluster.s3_secret, cluster.retries) == ("vigil-environment", "store", 1)


def _many(count: int, **extra: Any) -> dict[str, Any]:
    example = yaml.safe_load((ROOT / "pipelines/examples/transistor.yaml").read_text(encoding="utf-8"))
    example = {key: value for key, value in example.items() if key != "name"}
    return {"lines": {f"line-{index:03d}": {**example, "seed": index, **extra} for index in range(count)}}


def test_two_hundred_lines_fit(tmp_path: Path) -> None:
    config_map = render(_many(200)).of("ConfigMap", "vigil-lines")
    assert len(config_map["data"]) == 200
    assert sum(len(key) + len(text.encode()) for key, text in config_map["data"].items()) < _LIMIT
    lines = _loaded(config_map["data"], tmp_path)
    assert {name: line.seed for name, line in lines.items()} == {f"line-{index:03d}": index for index in range(200)}


def test_lines_that_no_config_map_holds_are_refused() -> None:
    message = refusal(_many(200, prompts={"template": "x" * 6000}))
    assert "expected at most 1000000" in message
    assert "200 lines" in message


def test_largest_accepted_lines_keep_to_the_limit_of_a_config_map() -> None:
    config_map = render(_many(160, prompts={"template": "ä" * 2800})).of("ConfigMap", "vigil-lines")
    size = len(json.dumps(config_map, ensure_ascii=False).encode())
    assert 900_000 < size < _LIMIT


def test_no_lines_are_an_empty_config_map() -> None:
    assert render().of("ConfigMap", "vigil-lines")["data"] == {}
