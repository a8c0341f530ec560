"""The configuration `preference`: a real run, read by `datasets`, checked by TRL, the same after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from factory.api import run
from factory.errors import RecipeError
from factory.recipe import Overrides, build_recipe, load_recipe
from factory.results import Result


def make(tmp_path: Path, rows: int = 24, **preference: Any) -> Result:
    """The shipped word problems, with pairs. On the embedded model about one candidate in five is wrong."""
    sets = (("export.preference", json.dumps(preference)), ("export.test_fraction", "0.25"))
    return run(load_recipe("word-problems", overrides=Overrides(rows=rows, sets=sets)), out=tmp_path / "run")


def pairs_of(result: Result) -> datasets.DatasetDict:
    return datasets.load_dataset(str(result.run.dataset), "preference")


def test_pairs_in_the_columns_that_trl_reads(tmp_path: Path) -> None:
    result = make(tmp_path)
    pairs, rows = pairs_of(result), result.dataset()
    assert set(pairs) == {"train", "test"} and set(rows) == {"train", "test"}
    by_row = {row["meta"]["row"]: row for split in rows.values() for row in split}
    made = [(split, pair) for split, lines in pairs.items() for pair in lines]
    assert 8 <= len(made) <= 24 and len(by_row) == 24
    for split, pair in made:
        assert [message["role"] for message in pair["prompt"]] == ["user"]
        assert [message["role"] for message in pair["chosen"]] == ["assistant"] == [m["role"] for m in pair["rejected"]]
        chosen, row = pair["chosen"][0]["content"], by_row[pair["meta"]["row"]]
        assert row["question"] in chosen and row["answer"].splitlines()[0] in chosen
        assert json.loads(row["meta"]["variation"])["topic"] in pair["prompt"][0]["content"]
        assert pair["rejected"][0]["content"] != chosen
        assert pair["score_chosen"] == 1.0 and pair["score_rejected"] == 0.0 and pair["meta"]["margin"] == 1.0
        assert row["meta"]["id"] == pair["meta"]["id"]
        assert pair["meta"]["row"] in {one["meta"]["row"] for one in rows[split]}, "in the split of its row"
    told = result.summary["preference"]
    assert sum(told["splits"].values()) == len(made)
    assert sum(told["without"].values()) == 24 - len(made), "no accepted row is forgotten"


def test_the_card_tells_of_both_configurations(tmp_path: Path) -> None:
    card = (make(tmp_path).run.dataset / "README.md").read_text()
    configs = yaml.safe_load(card.split("---")[1])["configs"]
    assert [(config["config_name"], config.get("default")) for config in configs] == [
        ("default", True),
        ("preference", None),
    ]
    assert "## Preference pairs" in card and "accepted rows gave none: no candidate that is worse by enough" in card


def test_trl_takes_them(tmp_path: Path) -> None:
    data_utils = pytest.importorskip("trl.data_utils", reason="TRL's own check of the columns")
    pairs = pairs_of(make(tmp_path))["train"]
    assert data_utils.is_conversational(pairs[0])
    same = data_utils.maybe_extract_prompt({key: pairs[0][key] for key in ("prompt", "chosen", "rejected")})
    assert same["chosen"] == pairs[0]["chosen"] and same["prompt"] == pairs[0]["prompt"]
    single = data_utils.unpair_preference_dataset(pairs.select_columns(["prompt", "chosen", "rejected"]))
    assert set(single.column_names) == {"prompt", "completion", "label"} and len(single) == 2 * len(pairs)


def test_plain_texts_of_one_column(tmp_path: Path) -> None:
    result = make(tmp_path, form="standard", response="answer", prompt="Solve a problem about {{ topic }}.")
    pair = pairs_of(result)["train"][0]
    assert pair["prompt"].startswith("Solve a problem about ") and "Question:" not in pair["chosen"]
    assert "####" in pair["chosen"] and "####" in pair["rejected"]


def test_resume_and_extension_move_no_pair(tmp_path: Path) -> None:
    first = make(tmp_path)
    before = {path.name for path in (first.run.dataset / "preference").iterdir()}
    lines = pairs_of(first)["train"].to_list()
    again = make(tmp_path)
    assert again.summary["calls"] == 0
    assert {path.name for path in (again.run.dataset / "preference").iterdir()} == before
    longer = pairs_of(make(tmp_path, rows=40))["train"].to_list()
    assert longer[: len(lines)] == lines and len(longer) > len(lines)


def test_a_dataset_with_pairs_is_still_a_source_of_its_rows(tmp_path: Path) -> None:
    result = make(tmp_path)
    data = {"name": "again", "rows": "all", "prompt": "{{ source.question }}", "models": {"writer": "echo"}}
    made = run(build_recipe({**data, "from": str(result.path)}), out=tmp_path / "again")
    assert made.summary["rows"] == len(result.dataset()["train"])


def test_no_pair_no_configuration(tmp_path: Path) -> None:
    result = make(tmp_path, vetoed=False)
    assert sum(result.summary["preference"]["splits"].values()) == 0
    assert datasets.get_dataset_config_names(str(result.run.dataset)) == ["default"]
    assert "No row gave a preference pair" in (result.run.dataset / "README.md").read_text()


def test_pairs_follow_their_rows_out_of_a_pass(tmp_path: Path) -> None:
    sets = (
        ("export.preference", "true"),
        ("whole_set", "[{best_per: {on: operation, keep: 2}}]"),
    )
    recipe = load_recipe("word-problems", overrides=Overrides(rows=24, sets=sets))
    result = run(recipe, out=tmp_path / "run")
    kept = {row["meta"]["row"] for row in result.dataset()["train"]}
    paired = {pair["meta"]["row"] for pair in pairs_of(result)["train"]}
    assert len(kept) == 10 and paired and paired <= kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generate.candidates": "1", "export.preference": "true"}, "a pair needs two candidates, and a row has one"),
        ({"export.preference": "{response: anwser}"}, "no output column `anwser` (did you mean `answer`?)"),
        ({"export.preference": '{prompt: "{{ question }}"}'}, "`question` is what the candidates write"),
        ({"export.preference": '{prompt: "{{ topc }}"}'}, "`topc` is not known here (did you mean `topic`?)"),
        ({"export.preference": "{vetoed: [arithmetics]}"}, "no scorer `arithmetics` (did you mean `arithmetic`?)"),
        ({"export.preference": "{vetoed: 3}"}, "must be true, false, or a list of scorers"),
        ({"export.preference": "{rejected: best}"}, "rejected"),
        ({"export.preference": "{min_margin: -1}"}, "min_margin"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        run(load_recipe("word-problems", overrides=Overrides(sets=tuple(changes.items()))), out=tmp_path / "run")
    assert message in str(raised.value)
