"""The ranking of prompts by the embedder that ships, on WordNet.

Tolerances. Vectors of unit length differ by 1e-6 from one processor to another, and no two prompts of the golden
ranking are nearer to each other than twenty times that.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.artifacts import PROMPTS, REFERENCE_PROMPTS, SENSES, read_table
from components.prompts.config import Config as PromptsConfig
from components.prompts.generate import generate_prompts
from tests.components.image_sets import write_reference
from tests.golden_numbers.golden import Golden, Tolerance

SHOWN = 20
COLUMNS = ["prompt", "word", "relation", "l2", "cosine", "text_cosine", "kept", "rank"]
COSINES = Tolerance(absolute=1e-5)


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


@pytest.mark.usefixtures("one_embedder")
def test_prompts_of_a_screw(tmp_path: Path, golden: Golden) -> None:
    reference = write_reference(tmp_path / "reference", given=2, good=1, bad=1)
    summary = generate_prompts(reference, tmp_path / "prompts", PromptsConfig(object="screw"))
    table = read_table(tmp_path / "prompts" / PROMPTS)
    names = ("candidates", "removed", "best_prompt", "worst_prompt", "best_cosine", "worst_cosine", "wordnet")
    golden.check("prompts_summary", {name: summary[name] for name in names}, COSINES)
    golden.check("prompts_first", rows(table[COLUMNS].head(SHOWN)), COSINES)
    golden.check("prompts_words", sorted(table["word"] + ", " + table["relation"]), COSINES)
    golden.check("prompts_synsets", sorted(table["word"] + ", " + table["synset"]), COSINES)
    golden.check("prompts_senses", rows(read_table(tmp_path / "prompts" / SENSES)), COSINES)
    golden.check("prompts_compared", rows(read_table(tmp_path / "prompts" / REFERENCE_PROMPTS)), COSINES)
