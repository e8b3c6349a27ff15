"""Which state of a run W&B's server has: ``wandb/uploaded.json`` in the run folder."""

from __future__ import annotations

import json
from pathlib import Path

from lidr.config import RunConfig
from lidr.config.identity import digest
from lidr.files import write_text
from lidr.hashing import sha256
from lidr.tracking.choosing import server

_FILE = "wandb/uploaded.json"
_MIRRORED = (
    "iteration-*/pairs/audit.json",
    "iteration-*/training/metrics.jsonl",
    "iteration-*/evaluation/scores.json",
    "judging/*/scores.json",
)


def remember(config: RunConfig, run_dir: Path) -> None:
    """Writes down that the server has all the run has now."""
    write_text(run_dir / _FILE, json.dumps(_state(config, run_dir), indent=2) + "\n")


def is_uploaded(config: RunConfig, run_dir: Path) -> bool:
    """Whether this server, team and project have all the run has."""
    try:
        stored = json.loads((run_dir / _FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return bool(stored == _state(config, run_dir))


def _state(config: RunConfig, run_dir: Path) -> dict[str, str | None]:
    files = sorted(path for pattern in _MIRRORED for path in run_dir.glob(pattern))
    return {
        "server": server(),
        "entity": config.tracking.entity,
        "project": config.tracking.project,
        "files": digest([[str(path.relative_to(run_dir)), sha256(path)] for path in files]),
    }
