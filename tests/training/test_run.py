"""A job from its pairs to its model folder."""

import json
import signal
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from lidr import jsonl
from lidr.errors import LidrError
from lidr.training import TrainingJob, TrainingSummary, resume, train
from tests.training.conftest import MakeJob


@pytest.fixture(scope="module")
def finished(
    make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainingJob, TrainingSummary, torch.nn.Module]:
    """A finished job, its summary, and the policy as it was when training ended."""
    from lidr.training import saving

    kept: list[torch.nn.Module] = []
    job = make_job(tmp_path_factory.mktemp("run"))
    real = saving.save_full

    def keep(model, tokenizer, path):  # type: ignore[no-untyped-def]
        kept.append(model)
        real(model, tokenizer, path)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(saving, "save_full", keep)
        summary = train(job)
    return job, summary, kept[0]


def test_the_model_loads_with_transformers_and_gives_the_same_logits(finished, m_0: str) -> None:  # type: ignore[no-untyped-def]
    job, _, policy = finished
    ids = torch.arange(20)[None]
    saved, before = (AutoModelForCausalLM.from_pretrained(path).eval() for path in (job.output, m_0))
    with torch.no_grad():
        assert torch.equal(saved(ids).logits, policy(ids).logits)
        assert not torch.allclose(saved(ids).logits, before(ids).logits, atol=1e-2)
    assert AutoTokenizer.from_pretrained(job.output).chat_template
    assert GenerationConfig.from_pretrained(job.output).eos_token_id == 1
    assert (job.output / "model.safetensors").is_file()


def test_one_record_per_optimizer_step(finished) -> None:  # type: ignore[no-untyped-def]
    job, summary, _ = finished
    records = list(jsonl.read(job.metrics))
    assert [(r["iteration"], r["step"]) for r in records] == [(1, k) for k in range(1, 7)]
    terms = ["loss", "dpo", "nll", "reward_chosen", "reward_rejected", "margin", "accuracy", "chosen_drift"]
    groups = {"", "/en", "/es", "/de", "/type_nl", "/type_en"}
    keys = {f"train/{term}{group}" for term in terms for group in groups}
    other = {"iteration", "step", "train/grad_norm", "train/lr", "train/tokens"}
    assert set().union(*records) == keys | other
    assert all(keys - set(r) < {k for k in keys if k.count("/") == 2} for r in records), (
        "overall means always"
    )
    assert sum(r["train/tokens"] for r in records) == summary.tokens


def test_the_logged_loss_is_made_of_its_terms(finished) -> None:  # type: ignore[no-untyped-def]
    job, _, _ = finished
    for r in jsonl.read(job.metrics):
        assert r["train/loss"] == pytest.approx(r["train/dpo"] + r["train/nll"], rel=1e-6)
        assert r["train/margin"] == pytest.approx(
            r["train/reward_chosen"] - r["train/reward_rejected"], abs=1e-5
        )
        assert r["train/chosen_drift"] == pytest.approx(r["train/reward_chosen"] / 0.1, rel=1e-5, abs=1e-6)


def test_training_does_what_it_is_for(finished) -> None:  # type: ignore[no-untyped-def]
    job, summary, _ = finished
    last = list(jsonl.read(job.metrics))[-1]
    assert summary.final_loss < summary.first_loss
    assert last["train/margin"] > 0
    assert last["train/accuracy"] == 1.0


def test_the_summary_is_plain(finished) -> None:  # type: ignore[no-untyped-def]
    job, summary, _ = finished
    values = json.loads(json.dumps(summary.to_dict()))
    assert values["pairs"] == 11
    assert values["steps"] == 6
    assert (values["truncated"], values["dropped"], values["resumed_from"]) == (0, 0, 0)
    assert values["first_loss"] == next(jsonl.read(job.metrics))["train/loss"]


def test_what_stays(finished) -> None:  # type: ignore[no-untyped-def]
    """The checkpoint until the stage's manifest stands (`lidr.execute.tidy`)."""
    job, _, _ = finished
    assert sorted(p.name for p in job.folder.iterdir()) == [
        "choices.json",
        "last.ckpt",
        "metrics.jsonl",
        "reference.safetensors",
        "timing.jsonl",
    ]


def test_sft_needs_no_reference(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(tmp_path, {"objective.name": "sft"})
    train(job)
    assert not job.cached_reference.exists()
    (first, *_) = jsonl.read(job.metrics)
    assert {key.split("/")[1] for key in first if "/" in key} == {"loss", "nll", "grad_norm", "lr", "tokens"}


def test_the_pair_stage_runs_once(make_job: MakeJob, tmp_path: Path, pairs_file: Path) -> None:
    calls = []
    made = tmp_path / "pairs.jsonl"

    def build() -> None:
        calls.append(1)
        made.write_bytes(pairs_file.read_bytes())

    train(make_job(tmp_path, pairs=made, build_pairs=build))
    assert calls == [1]


def test_no_pairs_points_to_the_audit(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").touch()
    with pytest.raises(LidrError, match=r"no pairs to train on.*audit\.json"):
        train(make_job(tmp_path, pairs=tmp_path / "pairs.jsonl"))


def test_no_pair_that_fits_is_an_error(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(LidrError, match=r"none of 11 pairs fits into training\.max_length=8"):
        train(make_job(tmp_path, {"training.max_length": 8}))


def test_a_trained_model_is_a_policy_again(finished, make_job: MakeJob, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Iteration 2 starts at ln 2 against M_1."""
    job, _, _ = finished
    second = make_job(tmp_path, policy=str(job.output), iteration=2)
    train(second)
    assert next(jsonl.read(second.metrics))["train/margin"] == 0.0


def test_ctrl_c_is_a_keyboard_interrupt(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning alone would exit with code 1 and leave the signal ignored."""

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(resume.StepLog, "on_train_batch_end", interrupt)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(make_job(tmp_path))
    assert signal.getsignal(signal.SIGINT) is before


def test_global_flags_are_as_before(finished) -> None:  # type: ignore[no-untyped-def]
    assert not torch.are_deterministic_algorithms_enabled()
