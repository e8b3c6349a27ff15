"""Rules between the values of a configuration that types alone cannot say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lidr import languages
from lidr.config import benchmark_rules, engine_rules, names, rival_rules
from lidr.config.benchmark_schema import LmEvalConfig
from lidr.config.ranges import AT_LEAST_ZERO, POSITIVE, SHARE, at_most, out_of_range
from lidr.config.schema import (
    BenchmarkConfig,
    LanguagesConfig,
    Processes,
    PromptFormat,
    PromptsConfig,
    RunConfig,
)
from lidr.config.trainer_schema import Strategy
from lidr.config.training_schema import Divergence, ObjectiveConfig, ObjectiveName
from lidr.errors import LidrError, did_you_mean

# Values that some objectives read: key, the value that switches it off, and whether an objective reads it.
_READ_BY_SOME: tuple[tuple[str, object, Callable[[ObjectiveName], bool]], ...] = (
    ("beta_end", None, lambda name: name.is_preference),
    ("label_smoothing", 0, lambda name: name.supports_label_smoothing),
    ("target_margin", 0, lambda name: name.supports_target_margin),
    ("divergence", Divergence.REVERSE_KL, lambda name: name.supports_divergence),
)


def violations(config: RunConfig) -> Iterator[LidrError]:
    """Every broken rule, each with its config path and what to type instead."""
    yield from _languages(config.languages)
    yield from _ranges(config)
    yield from _pairs(config)
    yield from _objective(config.objective)
    yield from _devices(config)
    yield from _templates(config)
    yield from _evaluation(config)
    yield from engine_rules.violations(config)
    yield from rival_rules.violations(config)
    yield from names.violations(config)


def _languages(section: LanguagesConfig) -> Iterator[LidrError]:
    for code in section.all:
        if not languages.is_known(code):
            yield LidrError(
                f"unknown language code {code!r}",
                where="languages",
                instead=did_you_mean(code, languages.codes()),
            )
    if not section.non_dominant:
        yield LidrError(
            "is empty", where="languages.non_dominant", instead="type languages.non_dominant=[es,de]"
        )
    for code in sorted({c for c in section.all if section.all.count(c) > 1}):
        yield LidrError(
            f"{code!r} is named more than once among dominant, non_dominant and unseen",
            where="languages",
            instead="name each language once",
        )


def _ranges(config: RunConfig) -> Iterator[LidrError]:
    positive = {
        "training.lr": config.training.lr,
        "training.global_batch": config.training.global_batch,
        "training.token_budget": 1 if config.training.token_budget is None else config.training.token_budget,
        "training.epochs": config.training.epochs,
        "training.max_length": config.training.max_length,
        "training.max_grad_norm": config.training.max_grad_norm,
        "training.checkpoint_steps": config.training.checkpoint_steps,
        "prompts.limit": config.prompts.limit,
        "trainer.threads": 1 if config.trainer.threads is None else config.trainer.threads,
        "trainer.devices": config.trainer.devices,
        "trainer.nodes": config.trainer.nodes,
    }
    at_least_zero = {
        "seed": config.seed,
        "iterations": config.iterations,
        "objective.alpha": config.objective.alpha,
        "objective.target_margin": config.objective.target_margin,
        "training.weight_decay": config.training.weight_decay,
        "lora.rank": config.lora.rank,
        "tracking.sample_pairs": config.tracking.sample_pairs,
    }
    yield from POSITIVE("", positive)
    yield from AT_LEAST_ZERO("", at_least_zero)
    shares = {
        "training.warmup_ratio": config.training.warmup_ratio,
        "pairs.filters.repetition_max_share": config.pairs.filters.repetition_max_share,
    }
    yield from SHARE("", shares)
    yield from _limits(config)


def _limits(config: RunConfig) -> Iterator[LidrError]:
    """Numbers beyond which a mistake would fill the memory, or end in a library's own words."""
    yield from at_most(2**32 - 1)("", {"seed": config.seed})
    yield from at_most(1000)("", {"iterations": config.iterations, "training.epochs": config.training.epochs})
    yield from at_most(10_000)("", {"tracking.sample_pairs": config.tracking.sample_pairs})
    yield from at_most(4096)(
        "",
        {
            "lora.rank": config.lora.rank,
            "trainer.threads": config.trainer.threads or 1,
            "trainer.devices": config.trainer.devices,
            "trainer.nodes": config.trainer.nodes,
        },
    )
    if config.lora.enabled:
        yield from POSITIVE("", {"lora.alpha": config.lora.alpha})
    if not 1e-6 <= config.objective.beta <= 1e6:
        yield out_of_range("objective.beta", config.objective.beta, "greater than 0 (1e-6 to 1e6)")
    if not all(0 <= beta < 1 for beta in config.training.adam_betas):
        yield out_of_range(
            "training.adam_betas", str(list(config.training.adam_betas)), "two numbers from 0 to below 1"
        )


def _pairs(config: RunConfig) -> Iterator[LidrError]:
    if not config.pairs.types:
        yield LidrError("is empty", where="pairs.types", instead="type pairs.types=[nl,en]")
    if config.pairs.limit is not None:
        yield from POSITIVE("pairs", {"limit": config.pairs.limit})


def _objective(section: ObjectiveConfig) -> Iterator[LidrError]:
    if not section.name.is_preference and section.alpha == 0:
        yield LidrError(
            "objective=sft trains on the NLL term alone",
            where="objective.alpha",
            instead="type a value above 0",
        )
    if section.beta_end is not None and not 1e-6 <= section.beta_end <= 1e6:
        yield out_of_range("objective.beta_end", section.beta_end, "greater than 0, or null (1e-6 to 1e6)")
    if not 0 <= section.label_smoothing < 0.5:
        yield out_of_range("objective.label_smoothing", section.label_smoothing, "at least 0 and below 0.5")
    yield from _without_effect(section)
    yield from _divergence_alpha(section)


def _without_effect(section: ObjectiveConfig) -> Iterator[LidrError]:
    """Values that the objective would pass over in silence."""
    for key, off, reads in _READ_BY_SOME:
        value = getattr(section, key)
        if value != off and not reads(section.name):
            yield LidrError(
                f"{value} has no effect on objective={section.name}",
                where=f"objective.{key}",
                instead=f"type objective.{key}={'null' if off is None else off}, "
                f"or objective={' or '.join(name for name in ObjectiveName if reads(name))}",
            )


def _divergence_alpha(section: ObjectiveConfig) -> Iterator[LidrError]:
    alpha = section.divergence_alpha
    if section.divergence is Divergence.ALPHA and not 0 < alpha < 1:
        yield out_of_range("objective.divergence_alpha", alpha, "above 0 and below 1")
    if section.divergence is not Divergence.ALPHA and alpha != 0:
        yield LidrError(
            f"{alpha:g} has no effect on objective.divergence={section.divergence}",
            where="objective.divergence_alpha",
            instead=f"type objective.divergence={Divergence.ALPHA}, or objective.divergence_alpha=0",
        )


def _devices(config: RunConfig) -> Iterator[LidrError]:
    trainer = config.trainer
    if trainer.ranks <= 1:
        return
    several = f"trainer.devices={trainer.devices} and trainer.nodes={trainer.nodes}"
    if trainer.strategy is Strategy.NONE:
        yield LidrError(
            f"none trains on one device, and there are {several}",
            where="trainer.strategy",
            instead="type trainer=ddp or trainer=fsdp, or trainer.devices=1 trainer.nodes=1",
        )
    if config.processes is Processes.INLINE:
        yield LidrError(
            f"inline is one process, and {several} need one each",
            where="processes",
            instead="type processes=separate, or trainer.devices=1 trainer.nodes=1",
        )
    if config.training.global_batch < trainer.ranks:
        yield LidrError(
            f"{config.training.global_batch} pairs cannot be shared by {several}",
            where="training.global_batch",
            instead=f"type training.global_batch={trainer.ranks} or more",
        )


def _templates(config: RunConfig) -> Iterator[LidrError]:
    for field in ("{source}", "{target_language}"):
        if field not in config.translator.template:
            yield LidrError(
                f"lacks {field}", where="translator.template", instead=f"put {field} where it belongs"
            )
    instruction = config.prompts.instruction
    if instruction is not None and "{prompt}" not in instruction:
        yield LidrError(
            "lacks {prompt}", where="prompts.instruction", instead="put {prompt} where the prompt belongs"
        )
    yield from _prompt_files(config.prompts, "prompts")


def _prompt_files(prompts: PromptsConfig, where: str) -> Iterator[LidrError]:
    if prompts.format is PromptFormat.LAB:
        return
    if prompts.root is None:
        yield LidrError(
            "has no value",
            where=f"{where}.root",
            instead="type prompts.root=<folder of the prompt files>, or paths.data=<clone of the official data>",
        )
    if not prompts.files:
        yield LidrError(
            "is empty", where=f"{where}.files", instead=f"type {where}.files=['{{language}}.jsonl']"
        )


def _evaluation(config: RunConfig) -> Iterator[LidrError]:
    for name, benchmark in config.evaluation.items():
        where = f"evaluation.{name}"
        if isinstance(benchmark, LmEvalConfig):
            yield from benchmark_rules.lm_eval(benchmark, where)
        else:
            yield from _asked(benchmark, where)
        for code in benchmark.languages:
            if code not in config.languages.all:
                yield LidrError(
                    f"{code!r} is no language of this run",
                    where=f"{where}.languages",
                    instead=did_you_mean(code, config.languages.all),
                )


def _asked(benchmark: BenchmarkConfig, where: str) -> Iterator[LidrError]:
    yield from _prompt_files(benchmark.prompts, f"{where}.prompts")
    positive = {
        "prompts.limit": benchmark.prompts.limit,
        "max_new_tokens": benchmark.max_new_tokens,
        "repetition_penalty": benchmark.repetition_penalty,
    }
    yield from POSITIVE(where, positive)
