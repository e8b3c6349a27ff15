"""Keys come from the environment and are written nowhere."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lidr.compose import compose_run
from lidr.errors import ConfigError
from tests.engines.fault_server import Reply, Seen, completion, error, serving
from tests.torture.case import ROOT

KEYS = {
    "LIDR_SENTINEL_KEY": "sk-sentinel-1f0c9d27-of-a-server",
    "WANDB_API_KEY": "5e171e15e171e15e171e15e171e15e171e15e171",
    "HF_TOKEN": "hf_sentinelSentinelSentinelSentinel",
}
WORDS = (
    "experiment=lab", "iterations=0", "evaluation.lab.prompts.limit=6", "evaluation.lab.languages=[en,es]",
    "languages.non_dominant=[es]", "languages.unseen=[]", "engine=openai", "engine.endpoint.model=M",
    "engine.endpoint.key_variable=LIDR_SENTINEL_KEY", "engine.endpoint.retries=1", "tracking=offline",
    "paths.outputs=outputs",
)  # fmt: skip
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def forms(secret: str) -> list[bytes]:
    """How a secret could stand in a file."""
    return [
        secret.encode(),
        secret.encode("utf-16-le"),
        base64.b64encode(secret.encode())[:-4],
        base64.b64encode(b"api:" + secret.encode())[:-4],
        secret[::-1].encode(),
    ]


def run(place: Path, url: str) -> subprocess.CompletedProcess[bytes]:
    # WANDB_SERVICE would have it write to the service that an earlier test of this process left
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.run(
        [sys.executable, "-m", "lidr", "run", *WORDS, f"engine.endpoint.url={url}"],
        cwd=place,
        env=inherited | KEYS | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OPENAI_LOG": "debug"},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("refuses", [False, True])
def test_a_run_writes_no_key_anywhere(tmp_path: Path, refuses: bool) -> None:
    """Every file of the run, W&B's offline files among them, and all that was printed; the server repeats the key."""

    def script(seen: Seen) -> Reply:
        repeated = seen.headers["authorization"].removeprefix("Bearer ")
        if refuses:
            return Reply(401, error(f"Incorrect API key provided: {repeated}"))
        return Reply(200, completion("Tom has 5 apples."))

    with serving(script) as server:
        done = run(tmp_path, server.url)
    assert {seen.headers["authorization"] for seen in server.seen} == {f"Bearer {KEYS['LIDR_SENTINEL_KEY']}"}
    assert done.returncode == (1 if refuses else 0), done.stderr
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    names = {path.name for path in files}
    assert {"config.yaml", "log.txt", "status.json"} <= names
    assert any(name.endswith(".wandb") for name in names)
    assert refuses or {"report.md", "results.json", "usage.jsonl"} <= names
    for secret in KEYS.values():
        for form in forms(secret):
            assert form not in done.stdout + done.stderr
            assert [path for path, data in files.items() if form in data] == []


@pytest.mark.parametrize("variable", KEYS)
def test_a_key_is_not_taken_into_a_configuration(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ConfigError, match=f"holds the secret of the environment variable {variable}"
    ) as raised:
        compose_run([*WORDS, f"model.system_prompt=${{oc.env:{variable}}}"])
    assert KEYS[variable] not in str(raised.value)
    with pytest.raises(ConfigError, match="holds the secret"):
        compose_run([*WORDS, f"tracking.tags=[x,{KEYS[variable]}]"])


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("engine.endpoint.key_variable=sk-sentinel", "is no name of an environment variable"),
        ("engine.endpoint.url='https://me:sentinel@example.org/v1'", "holds more than an address"),
        ("engine.endpoint.url='https://example.org/v1?key=sentinel'", "holds more than an address"),
    ],
)
def test_a_key_that_is_typed_is_refused_and_not_repeated(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        compose_run([*WORDS, override])
    assert "sentinel" not in str(raised.value).lower().replace("lidr_sentinel_key", "")
