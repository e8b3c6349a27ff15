"""The pair stage: from prompts, responses and translations on disk to ``pairs.jsonl`` and ``audit.json``."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lidr import jsonl, progress
from lidr.config import RunConfig
from lidr.errors import LidrError
from lidr.files import write_text
from lidr.records import Pair, to_json
from lidr.synthesis.audit import Auditor
from lidr.synthesis.filters import Filters, Reason
from lidr.synthesis.read import Group, groups
from lidr.synthesis.strategies import candidates
from lidr.synthesis.translation_requests import asks_for_translation


def build_pairs(
    prompts_dir: Path, responses_dir: Path, compared_dir: Path, out_dir: Path, config: RunConfig
) -> dict[str, Any]:
    """Writes the pairs of one iteration and returns their audit.

    Pairs stand in prompt order, within a prompt in language order, the dominant language first. One prompt is
    held in memory at a time; the file appears whole or not at all.

    Args:
        compared_dir: the translations, or the scores of a rival's samples.

    Raises:
        LidrError: a file is missing, broken or not aligned with the others; or no pair passed the filters.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    auditor = Auditor(config)
    total = jsonl.whole_lines(prompts_dir / f"{config.languages.dominant}.jsonl")
    walk = groups(prompts_dir, responses_dir, compared_dir, config.languages, config.pairs)
    with progress.bar(f"{out_dir.parent.name}/{out_dir.name}", total) as advance:
        records = (to_json(pair) for pair in _pairs(walk, config, auditor, advance))
        kept = jsonl.write(out_dir / "pairs.jsonl", records)
    audit = auditor.to_json()
    _write_json(out_dir / "audit.json", audit)
    if not kept:
        raise LidrError(
            f"none of {audit['candidates']} pairs passed the filters",
            where=str(out_dir / "audit.json"),
            instead="see there what dropped them; loosen pairs.filters.*, or allow longer answers",
        )
    return audit


def _pairs(
    walk: Iterator[Group], config: RunConfig, auditor: Auditor, advance: progress.Advance
) -> Iterator[Pair]:
    filters, kept = Filters(config.pairs.filters, config.languages), Counter[tuple[str, str]]()
    most = math.inf if config.pairs.limit is None else config.pairs.limit
    for group in walk:
        asks = _asks(group, config)
        auditor.add_group(group, asks)
        untranslated = asks and config.pairs.translation_requests
        for candidate in candidates(group, config.pairs, config.languages, config.seed, untranslated):
            verdict = filters.judge(candidate)
            if verdict.dropped is None:
                cell = (candidate.type, candidate.language)
                kept[cell] += 1
                verdict = replace(verdict, dropped=Reason.SURPLUS if kept[cell] > most else None)
            auditor.add(candidate, verdict)
            if verdict.dropped is None:
                yield candidate.kept(config.pairs.control).pair()
        advance(1)


def _asks(group: Group, config: RunConfig) -> bool:
    dominant = config.languages.dominant
    return asks_for_translation(group.prompts[dominant].prompt, dominant, config.prompts.instruction)


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
