"""The dataset card: valid metadata for the Hub, then in prose and tables how the rows came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.exporting import as_json
from factory.planning import Plan
from factory.recipe.keeping import Keep
from factory.types import Check
from factory.whole_set import PassResult

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True)
class PairFacts:
    """Preference pairs: how many by split, and the accepted rows without one by reason."""

    splits: Mapping[str, int]
    without: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything the card tells. `rejected` counts candidates by stage, `models` are the manifest's facts, `scorers`
    what `factory.scoring.telling` says of them. `filters`: what filters tell of themselves; `flagged`: accepted rows
    that they flagged, by stage. `audit`: the audit's summary in Markdown; `plots`: files beside the card, by name.
    """

    plan: Plan
    status: str
    reason: str
    rows: int
    planned: int
    splits: Mapping[str, int]
    models: Sequence[Mapping[str, Any]]
    rejected: Mapping[str, int]
    reasons: Sequence[tuple[str, str, int]]
    ledger: Mapping[str, Any]
    examples: Sequence[Mapping[str, Any]] = ()
    checks: Sequence[Check] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    version: str = ""
    passes: Sequence[PassResult] = ()
    scorers: Sequence[Mapping[str, Any]] = ()
    filters: Sequence[Mapping[str, Any]] = ()
    flagged: Mapping[str, int] = field(default_factory=dict)
    pairs: PairFacts | None = None
    audit: str = ""
    plots: Mapping[str, bytes] = field(default_factory=dict)
    published_anyway: str = ""


def size_category(rows: int) -> str:
    """The Hub's word for a number of rows."""
    return next((word for limit, word in SIZES if rows < limit), "1M<n<10M")


def render_card(facts: CardFacts, configs: Mapping[str, Mapping[str, str]]) -> str:
    """README.md of the dataset. `configs`: by name, the Parquet path of each split, relative to the card."""
    sections = [
        _front_matter(facts, configs),
        _opening(facts),
        _how(facts),
        _models(facts),
        _prompts(facts),
        _judges(facts),
        _funnel(facts),
        _preference(facts),
        _costs(facts),
        _audits(facts),
        _examples(facts),
        _limits(facts),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(facts: CardFacts, configs: Mapping[str, Mapping[str, str]]) -> str:
    import yaml

    recipe = facts.plan.recipe
    metadata: dict[str, Any] = {"pretty_name": recipe.name, "language": [recipe.language]}
    if recipe.license:
        metadata["license"] = recipe.license
    else:
        metadata |= {"license": "other", "license_name": "unspecified"}
    metadata |= {
        "tags": ["synthetic", "text-data-factory"],
        "size_categories": [size_category(facts.rows)],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": path} for split, path in _filled(name, paths, facts).items()],
                **({"default": True} if name == "default" and len(configs) > 1 else {}),
            }
            for name, paths in configs.items()
        ],
    }
    return "---\n" + yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True) + "---"


def _filled(name: str, paths: Mapping[str, str], facts: CardFacts) -> Mapping[str, str]:
    """The splits with rows, where there are any: `datasets` loads nothing where one of a card's splits is empty."""
    rows = facts.splits if name == "default" else facts.pairs.splits if facts.pairs is not None else {}
    return {split: path for split, path in paths.items() if rows.get(split, 1)} or paths


def _opening(facts: CardFacts) -> str:
    recipe = facts.plan.recipe
    splits = ", ".join(f"{rows:,} {split}" for split, rows in facts.splits.items())
    lines = [f"# {recipe.name}", "", f"**{facts.rows:,} synthetic rows** ({splits})."]
    if recipe.description:
        lines[1:1] = ["", recipe.description.strip()]
    if facts.status != "complete":
        wanted = "one pass over the sources" if recipe.rows == "all" else f"{recipe.rows:,} rows wanted"
        lines += ["", f"> **This dataset is {facts.status}**: {facts.reason or 'the run did not end'} ({wanted})."]
    return "\n".join(lines)


def _how(facts: CardFacts) -> str:
    recipe = facts.plan.recipe
    lines = [
        "## How it was made",
        "",
        f"Every row was written by a language model through the recipe `{recipe.name}` (seed {recipe.seed}) of "
        f"[text-data-factory](https://pypi.org/project/text-data-factory/) {facts.version}. For each planned row the "
        "axes below are drawn from the seed, the prompt is rendered, candidates are generated, checked and scored, "
        "and the best are kept; then filters run in row order.",
        "",
    ]
    for step in facts.plan.steps:
        kept = _kept(step.keep)
        bound = f" with a score of at least {step.keep.min_score:g}" if step.keep.min_score is not None else ""
        candidates = "1 candidate" if step.candidates == 1 else f"{step.candidates} candidates"
        lines.append(f"- step `{step.name}`: {candidates} a row, {kept}{bound}{_scorers(step.score)}")
    if recipe.vary:
        balanced = ", covered evenly by construction" if recipe.balance else ""
        lines += ["", f"Axes{balanced}:", "", "| axis | drawn from |", "| --- | --- |"]
        lines += [f"| `{name}` | {_cell(_axis(axis))} |" for name, axis in recipe.vary.items()]
    if recipe.from_:
        lines += ["", f"Source rows: `{recipe.from_.path}` ({facts.plan.source_rows:,} rows)."]
    return "\n".join(lines)


def _kept(keep: Keep) -> str:
    if keep.everything:
        kept = "every valid one"
    else:
        kept = f"the best {keep.top_k}" if keep.top_k > 1 else "the best one"
    diversity = keep.diversity
    if diversity is None:
        return kept
    return f"{kept}, unlike ones first (maximal marginal relevance over {diversity.by}, weight {diversity.weight:g})"


def _scorers(specs: Sequence[Any]) -> str:
    if not specs:
        return ""
    return "; scorers: " + ", ".join(
        f"`{spec.name}`" + (f" {as_json(spec.options)}" if spec.options else "") for spec in specs
    )


def _axis(axis: Any) -> str:
    kind = axis.kind
    value = getattr(axis, kind)
    told = as_json(value.model_dump(mode="json") if hasattr(value, "model_dump") else value)
    return f"{kind}: {told if len(told) <= 160 else told[:157] + '…'}"


def _models(facts: CardFacts) -> str:
    if not facts.models:
        return ""
    lines = ["## Models", "", "| role | model | served as | sampling | licence |", "| --- | --- | --- | --- | --- |"]
    for model in facts.models:
        served = ", ".join(f"`{name}`" for name in model.get("served_as", [])) or "–"
        sampling = _cell(as_json(model.get("sampling", {})))
        lines.append(
            f"| {model['role']} | `{model['model']}` | {served} | `{sampling}` | {model.get('license', '–')} |"
        )
    return "\n".join(lines)


def _prompts(facts: CardFacts) -> str:
    lines = ["## Prompts", ""]
    for name, template in facts.plan.templates.items():
        lines.append(f"`{name}` (SHA-256 `{template.sha[:16]}…`):")
        for part in template.parts:
            fence = "~" * max(3, 1 + max((len(run) for run in part.source.split() if set(run) == {"~"}), default=0))
            lines += ["", f"{fence}jinja", f"[{part.role}]", part.source.strip(), fence]
        lines.append("")
    return "\n".join(lines).rstrip()


def _funnel(facts: CardFacts) -> str:
    total = facts.rows + sum(facts.rejected.values())
    lines = [
        "## What was kept and what was not",
        "",
        f"{facts.planned:,} planned rows gave {total:,} candidates.",
        "",
        "| | candidates |",
        "| --- | ---: |",
        f"| accepted | {facts.rows:,} |",
    ]
    lines += [f"| rejected: {stage} | {count:,} |" for stage, count in facts.rejected.items() if count]
    recipe = facts.plan.recipe
    if recipe.filter:
        told = ", ".join(f"`{spec.name}` {as_json(spec.options)}" for spec in recipe.filter)
        lines += ["", f"Filters, in row order: {told}."]
    lines += [
        f"- `{one['name']}` {key}: {_told(value)}"
        for one in facts.filters
        for key, value in one.items()
        if key != "name"
    ]
    for stage, count in facts.flagged.items():
        lines += ["", f"**{count:,} accepted rows are flagged** at stage `{stage}`: `meta.flags` says why."]
    if facts.passes:
        lines += ["", *_passes(facts)]
    if facts.reasons:
        lines += ["", "The most frequent reasons:", "", "| stage | reason | candidates |", "| --- | --- | ---: |"]
        lines += [f"| {stage} | {_cell(reason[:120])} | {count:,} |" for stage, reason, count in facts.reasons[:8]]
    return "\n".join(lines)


def _judges(facts: CardFacts) -> str:
    """What judges were asked with, and how good trained scorers are by their own report."""
    told = [scorer for scorer in facts.scorers if "facts" in scorer or "report" in scorer]
    if not told:
        return ""
    lines = ["## Judges and trained scorers", ""]
    for scorer in told:
        lines.append(f"- `{scorer['name']}` (step `{scorer['step']}`)")
        facts_told = {**scorer.get("facts", {}), **scorer.get("report", {})}
        lines += [f"  - {key}: {_told(value)}" for key, value in facts_told.items()]
    return "\n".join(lines)


def _told(value: Any) -> str:
    """A fact on one line."""
    shown = value if isinstance(value, str) else as_json(value)
    return _cell(shown if len(shown) <= 600 else shown[:599] + "…")


def _preference(facts: CardFacts) -> str:
    """The second configuration, and the rows that gave no pair."""
    pairs, config = facts.pairs, facts.plan.recipe.export.preference
    if pairs is None or config is None:
        return ""
    total = sum(pairs.splits.values())
    lines = ["## Preference pairs", ""]
    if total:
        splits = ", ".join(f"{count:,} {split}" for split, count in pairs.splits.items())
        options = as_json({key: value for key, value in config.model_dump().items() if value is not None})
        lines += [
            f"The configuration `preference` holds {total:,} pairs ({splits}): of a row the best candidate that was "
            f"accepted, and of those that are worse the {config.rejected}.",
            "",
            f"- options: `{_cell(options)}`",
        ]
    else:
        lines.append("No row gave a preference pair, so there is no configuration of that name.")
    lines += [f"- {count:,} accepted rows gave none: {_cell(reason)}" for reason, count in pairs.without.items()]
    return "\n".join(lines)


def _passes(facts: CardFacts) -> list[str]:
    """What passes over the whole set kept, and what that means for a longer run."""
    lines = [
        "Passes over the whole set, after all rows were made. They look at all rows at once, so the choice is not kept "
        "when the run is extended: a row that is here may be missing there.",
        "",
    ]
    for spec, result in zip(facts.plan.recipe.whole_set, facts.passes, strict=True):
        lines.append(f"- `{spec.name}` {as_json(spec.options)} kept {result.after:,} of {result.before:,} rows")
    return lines


def _costs(facts: CardFacts) -> str:
    total, per_row = facts.ledger["total"], facts.ledger.get("per_accepted_row_usd")
    cost = total.get("cost_usd")
    lines = [
        "## Costs",
        "",
        "| calls | attempts | prompt tokens | completion tokens | USD | USD per accepted row |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| {total['calls']:,} | {total['attempts']:,} | {total['prompt_tokens']:,} | {total['completion_tokens']:,} "
        f"| {_usd(cost)} | {_usd(per_row)} |",
    ]
    if total.get("upper_bound_usd"):
        lines += ["", f"Attempts whose answer was lost may have cost up to {_usd(total['upper_bound_usd'])} USD more."]
    if cost is None:
        lines += ["", "The price of a model is not known, so the cost is not known either."]
    lines += [
        "",
        "`meta.cost_usd` of a row is the sum over all answers made for its planned row, rejected ones included.",
    ]
    return "\n".join(lines)


def _audits(facts: CardFacts) -> str:
    if not facts.checks:
        return ""
    lines = ["## Audits", ""]
    if facts.published_anyway:
        lines += [f"> **Published although a gate failed.** The reason given: {_cell(facts.published_anyway)}", ""]
    if facts.audit:
        lines += [facts.audit, ""]
    lines += ["| check | verdict | value | |", "| --- | --- | ---: | --- |"]
    for check in facts.checks:
        value = "–" if check.value is None else f"{check.value:.4g}"
        name = f"{check.name} ({_cell(check.subject)})" if check.subject else check.name
        lines.append(f"| {name} | {check.verdict} | {value} | {_cell(check.sentence)} |")
    return "\n".join(lines)


def _examples(facts: CardFacts) -> str:
    if not facts.examples:
        return ""
    lines = ["## Examples"]
    for row in facts.examples:
        shown = as_json({key: value for key, value in row.items() if key != "meta"})
        lines += ["", "~~~~~~json", shown.replace("~~~~~~", "~ ~ ~"), "~~~~~~"]
    return "\n".join(lines)


def _limits(facts: CardFacts) -> str:
    lines = [
        "## Known limits",
        "",
        "- The rows are written by a model: they can be wrong, and they carry the model's habits and biases.",
        "- Scorers and filters reject what they can see; what they cannot see is still in here.",
        "- The same recipe run anew gives the same bytes only where the model's backend is deterministic.",
    ]
    if not facts.checks:
        lines.append("- No audit was run on this dataset.")
    if any(model["model"].startswith("embedded/") for model in facts.models):
        lines.append(
            "- It was made with the small model that ships in the package, which is for trying the factory out."
        )
    return "\n".join(lines + [f"- {note}" for note in facts.notes])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _usd(value: float | None) -> str:
    if value is None:
        return "unknown"
    return "0" if value == 0 else f"{value:.6f}".rstrip("0") if value < 0.01 else f"{value:,.2f}"
