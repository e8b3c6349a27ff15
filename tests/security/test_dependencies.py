"""requirements.lock: exact versions, all that pyproject.toml asks for, none that is known to be bad."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# Malicious releases, and packages with a hole that nobody mends.
BAD = {
    "lightning": ("2.6.2", "2.6.3"),
    "litellm": None,
    "diskcache": None,
    "pytorch-lightning": ("2.6.2", "2.6.3"),
}
_EXACT = re.compile(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!_-]*")


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not _EXACT.fullmatch(line)] == []
    found = [line.split("==") for line in lines]
    assert len({canonicalize_name(name) for name, _ in found}) == len(found)
    return {canonicalize_name(name): version for name, version in found}


def asked() -> Iterable[Requirement]:
    """What an installation by `make` takes; extras with versions of their own are in no lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    for text in (*project["project"]["dependencies"], *extras["joblib"], *groups["dev"], *groups["smollm2"]):
        yield Requirement(text)


def test_every_direct_dependency_is_locked_within_its_range() -> None:
    versions = locked()
    wanted = list(asked())
    assert len(wanted) >= 40
    outside = {
        r.name: versions.get(canonicalize_name(r.name))
        for r in wanted
        if not r.specifier.contains(versions.get(canonicalize_name(r.name), "0"), prereleases=True)
    }
    assert outside == {}


def test_none_of_what_is_known_to_be_bad() -> None:
    versions = locked()
    bad = {n: versions[n] for n, bad in BAD.items() if n in versions and (bad is None or versions[n] in bad)}
    assert bad == {}
