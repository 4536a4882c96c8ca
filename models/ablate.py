"""Ablations: the same training with one thing done otherwise, and a table of what each variant gave."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.configuring import Start, make_config, read_text, read_variants
from models.train import Figures, figures_of, train
from neurobatch.codes import Code
from neurobatch.errors import NeurobatchError, Refused


def ablate(
    file: Path, network: str, *, data: Path, out: Path, start: Start, say: Callable[[str], None], minutes: float
) -> Path:
    """Train every variant, or go on where an earlier call stopped, and write `table.md` and `table.json` into `out`.

    Args:
        file: the ablation (TOML): `base`, a configuration beside it, and `[[variants]]`: `name`, and what stands there
            instead of the base's values; tables are merged.
        network: what is trained.
        data: sets to train on.
        out: takes a folder for each variant.
        start: where the first weights come from.
        say: takes one line after each epoch.
        minutes: time for each variant; an unfinished one is not in the table.

    Raises:
        Refused: the ablation is wrong, or of another network.
    """
    base, variants = read_variants(file)
    found: dict[str, Figures] = {}
    for name, others in variants.items():
        text = merged(read_text(base), others)
        config = make_config(text, file.name, data=data, out=out / name.replace(" ", "-"), start=start)
        if config.network != network:
            raise Refused(Code.INVALID_FIELD, f"{file.name} is about {config.network}.")
        say(f"variant: {name}")
        train(replace(config, minutes=minutes), say)
        try:
            found[name] = figures_of(config.out)
        except NeurobatchError:
            say(f"not finished: {name}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table = out / "table.md"
    table.write_text(table_of(found), encoding="utf-8")
    return table


def merged(text: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `text` with `others` in their place; of tables only what is named is replaced."""
    result = dict(text)
    for key, value in others.items():
        before = result.get(key)
        result[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def table_of(found: Mapping[str, Figures]) -> str:
    """A Markdown table: a line for each variant and part, a column for each figure."""
    columns = list(dict.fromkeys(name for figures in found.values() for part in figures.values() for name in part))
    lines = [f"| variant | part | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for variant, figures in found.items():
        for part, values in figures.items():
            cells = " | ".join(str(values.get(name, "–")) for name in columns)
            lines.append(f"| {variant} | {part} | {cells} |")
    return "\n".join(lines) + "\n"
