"""An installed package finds its configs from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_carries_configs_and_the_lab(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import lidr; from lidr.__main__ import main; from lidr.paths import resolve_model, BUILTIN_LAB;"
        "from pathlib import Path; print(lidr.__file__);"
        "from lidr.report.page.document import asset; assert 'startBrowser' in asset('js') and '.card' in asset('css');"
        "assert (Path(resolve_model(BUILTIN_LAB)) / 'model.safetensors').exists();"
        "assert main(['table', 'mgsm', '--out', 'table']) == 0;"
        "raise SystemExit(main(['check', 'experiment=lab', 'debug=quick']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "site"))
    assert "8 prompts x 5 languages" in done.stdout
    assert (elsewhere / "table" / "mgsm.md").exists()
