"""``lidr outputs RUN``: answers as alpaca_eval's ``model_outputs.json``, for its tools or as another run's opponent."""

from __future__ import annotations

from pathlib import Path

from lidr.console import console
from lidr.errors import LidrError
from lidr.store import RunDirectory


def outputs(folder: str, benchmark: str | None, out: str | None) -> int:
    """Writes ``<out>/<benchmark>/M_<t>/<language>.json`` of every evaluated model.

    Raises:
        LidrError: the folder is no run, or has no answers to the benchmark.
    """
    from lidr.config import read_config
    from lidr.errors import did_you_mean
    from lidr.evaluation.run import benchmark_prompts
    from lidr.judging import model_outputs
    from lidr.judging.sources import Judged, responses_of

    root = Path(folder)
    if not (root / "config.yaml").is_file():
        raise LidrError("is no run", where=folder, instead="a folder such as outputs/lab/<run>")
    config = read_config(root / "config.yaml")
    if benchmark is not None and benchmark not in config.asked_benchmarks:
        raise LidrError(
            f"{benchmark!r} is no benchmark of this run",
            where=folder,
            instead=did_you_mean(benchmark, config.asked_benchmarks),
        )
    target = Path(out) if out else root / "model_outputs"
    judged, written = Judged(RunDirectory(root), config, 1, 0, config.languages.all), 0
    for name in [benchmark] if benchmark else config.asked_benchmarks:
        prompts = benchmark_prompts(config.asked_benchmarks[name], config.languages, config.seed)
        for t in judged.evaluated(name):
            for code, own in prompts.items():
                answers = responses_of(judged.run, name, t, code)
                path = target / name / f"M_{t}" / f"{code}.json"
                model_outputs.write(
                    path, [answers[p.id] for p in own], f"{config.model.name}-M_{t}-{root.name}", name
                )
                written += 1
    if not written:
        raise LidrError(
            "has no evaluated model", where=folder, instead="evaluate first: lidr run ... evaluation=[...]"
        )
    console().print(f"outputs {target} ({written} files)", highlight=False, soft_wrap=True)
    return 0
