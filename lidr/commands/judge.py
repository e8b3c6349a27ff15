"""``lidr judge RUN... [overrides]``: judges compare and rate what runs have stored."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from lidr.commands.folders import runs_in
from lidr.config.judge_schema import JudgingConfig, JudgingTask
from lidr.console import console
from lidr.errors import ConfigError, LidrError
from lidr.evaluation.scores import MEAN_NON_DOMINANT, MEAN_UNSEEN, Score
from lidr.report.metrics import MISSING, written, written_p

_HELP = ("-h", "--help")
_SHOWN = {
    "win_rate": "win rate %",
    "lc_win_rate": "at equal length",
    "reward_accuracy": "reward acc. %",
    "tie": "ties %",
    "swap_consistency": "consistent %",
    "kappa": "kappa",
    "alpha": "alpha",
}
_ONE_SCALE = (
    "mean_ratings=true: a judge's scale differs between languages (the same text, translated, gets other ratings),"
    " so that a mean of ratings over languages mixes scales. Compare models within a language, or by win rates."
)
HELP = """\
usage: lidr judge RUN... judge=[...] [overrides]

Has judges compare and rate the answers, pairs and translations that runs have stored.

  RUN              a run folder, or a folder of runs
  judge=[...]      who judges: one or several files of conf/judge
  overrides        key=value of conf/judging.yaml
  -h, --help       this text

lidr judge outputs/lab judge=[oracle]                            win rates against M_0, on the lab
lidr judge outputs/lab judge=[oracle,noisy] tasks=[comparisons,ratings,pairs,responses]
lidr judge RUN judge=[openai] judges.openai.engine.endpoint.model=<name> opponents=[previous]
lidr judge RUN judge=[openai] ... opponents=[OTHER_RUN]           head to head with another run
lidr judge RUN judge=[openai] ... 'opponents=["gpt4/{language}.json"]'  with model_outputs of alpaca_eval's form

What was asked is not asked again. Exit code: 0, 1 where a judge cannot go on, 2 where the configuration is wrong.
"""


def judge(words: Sequence[str]) -> int:
    """Judges every run and prints what came of it.

    Raises:
        LidrError: a folder holds no run, or a judge cannot go on.
        ConfigError: the overrides are wrong; nothing was asked.
    """
    from lidr.compose import compose_judging
    from lidr.logs import show

    if any(word in _HELP for word in words):
        sys.stdout.write(HELP)
        return 0
    flags = [w for w in words if w.startswith("-")]
    if flags:
        raise ConfigError(
            LidrError("unknown option", where=f, instead="lidr judge --help shows what there is")
            for f in flags
        )
    show()
    folders = [word for word in words if "=" not in word]
    runs = _runs(folders)
    config = compose_judging([word for word in words if "=" in word])
    if config.mean_ratings and {JudgingTask.RATINGS, JudgingTask.RESPONSES} & set(config.tasks):
        sys.stderr.write(f"{_ONE_SCALE}\n")
    for run in runs:
        _judge(run, config)
    return 0


def _runs(folders: Sequence[str]) -> list[Path]:
    if not folders:
        raise ConfigError(
            [LidrError("names no run", where="lidr judge", instead="lidr judge outputs/lab judge=[oracle]")]
        )
    return runs_in(folders)


def _judge(run: Path, config: JudgingConfig) -> None:
    from lidr.judging.run import judge_run
    from lidr.report import build_report

    scores = judge_run(run, config)
    _mirror(run)
    terminal = console()
    for title, table in _tables(scores):
        terminal.print(title, style="bold")
        terminal.print(table, "")
    report = build_report([run], run / "report")
    terminal.print(f"report  {report.markdown}", highlight=False, soft_wrap=True)


def _mirror(run: Path) -> None:
    """Adds the scores to the run's W&B run."""
    from lidr.config import identity, read_config
    from lidr.tracking import Tracker

    config = read_config(run / "config.yaml")
    with Tracker(config, run, identity(config)) as tracker:
        tracker.mirror_all()


def _tables(scores: Sequence[Score]) -> Iterator[tuple[str, Table]]:
    """One table for each model, benchmark and judge: languages down, metrics across."""
    for benchmark, iteration in dict.fromkeys((s.benchmark, s.iteration) for s in scores):
        own = [s for s in scores if (s.benchmark, s.iteration) == (benchmark, iteration)]
        yield f"{benchmark}, M_{iteration}", _table(own)


def _table(own: Sequence[Score]) -> Table:
    metrics = [m for m in dict.fromkeys(s.metric for s in own) if _is_shown(m)]
    tested = {s.language: written_p(s.p) for s in own if s.p is not None}
    gated = any(s.gate for s in own)
    table = Table(
        box=None,
        header_style="bold",
        caption="in brackets: below a gate" if gated else None,
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("language", no_wrap=True)
    names = [_SHOWN.get(m, m.replace("_", " ")) for m in metrics]
    for name in (names[0], *(["p"] if tested else []), *names[1:], "n"):
        table.add_column(name, justify="right", no_wrap=True)
    by_cell = {(s.language, s.metric): s for s in own}
    for language in _ordered(own):
        first, *others = (by_cell.get((language, metric)) for metric in metrics)
        cells = [_cell(first, interval=True), *([tested.get(language, MISSING)] if tested else [])]
        cells += [_cell(s) for s in others]
        table.add_row(language, *cells, str(max(s.n for s in own if s.language == language)))
    return table


def _is_shown(metric: str) -> bool:
    return metric in _SHOWN or (metric.startswith(("rating", "alpha")) and not metric.endswith("_unread"))


def _ordered(scores: Sequence[Score]) -> list[str]:
    last = (MEAN_NON_DOMINANT, MEAN_UNSEEN)
    found = list(dict.fromkeys(s.language for s in scores))
    return [c for c in found if c not in last] + [c for c in last if c in found]


def _cell(score: Score | None, *, interval: bool = False) -> str:
    """``61.2 ±6.0``, the longer arm of the interval; in brackets where a gate says not to rely on it."""
    if score is None or score.value is None:
        return MISSING
    text = written(score.metric, score.value)
    if interval and score.low is not None and score.high is not None:
        text += f" ±{written(score.metric, max(score.value - score.low, score.high - score.value))}"
    return f"({text})" if score.gate else text
