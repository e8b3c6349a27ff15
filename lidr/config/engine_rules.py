"""Rules between the values of engines and of the translator."""

from __future__ import annotations

from collections.abc import Iterator

from lidr.config.engine_schema import (
    EndpointConfig,
    EngineConfig,
    EngineKind,
    SamplingConfig,
    TranslatorKind,
)
from lidr.config.ranges import AT_LEAST_ZERO, POSITIVE, SHARE, at_most
from lidr.config.schema import PairControl, Processes, RunConfig
from lidr.config.trainer_schema import Accelerator
from lidr.errors import LidrError
from lidr.printable import short

ITERATION = "{iteration}"
_VLLM_TEMPERATURE = 2.0
MOST_GUESSES = 63


def violations(config: RunConfig) -> Iterator[LidrError]:
    """Every broken rule of the engine, the translator and its engine."""
    yield from one_engine(config.engine, "engine")
    yield from _served(config)
    yield from _translator(config)
    yield from _vllm(config)


def one_engine(engine: EngineConfig, where: str) -> Iterator[LidrError]:
    """Every broken rule of one engine."""
    yield from POSITIVE(where, {"batch_size": engine.batch_size, "processes": engine.processes})
    yield from at_most(1024)(where, {"processes": engine.processes})
    if engine.token_budget is not None:
        yield from POSITIVE(where, {"token_budget": engine.token_budget})
    yield from AT_LEAST_ZERO(where, {"prompt_lookup": engine.prompt_lookup})
    yield from at_most(MOST_GUESSES)(where, {"prompt_lookup": engine.prompt_lookup})
    yield from _sampling(engine.sampling, f"{where}.sampling")
    yield from _section(engine, where)
    if engine.vllm is not None:
        yield from POSITIVE(f"{where}.vllm", {"tensor_parallel": engine.vllm.tensor_parallel})
        yield from SHARE(f"{where}.vllm", {"memory_share": engine.vllm.memory_share})
    if engine.endpoint is not None:
        yield from _endpoint(engine.endpoint, f"{where}.endpoint")
        if engine.prompt_lookup:
            yield LidrError(
                f"{engine.prompt_lookup} tokens at a time: what a server guesses is its own affair",
                where=f"{where}.prompt_lookup",
                instead=f"type {where}.prompt_lookup=0",
            )
        if engine.processes > 1:
            yield LidrError(
                f"{engine.processes} processes would share no server's limits",
                where=f"{where}.processes",
                instead=f"type {where}.endpoint.concurrency=<requests at the same time>",
            )


def _sampling(sampling: SamplingConfig, where: str) -> Iterator[LidrError]:
    yield from POSITIVE(
        where,
        {
            "max_new_tokens": sampling.max_new_tokens,
            "repetition_penalty": sampling.repetition_penalty,
            "top_p": sampling.top_p,
        },
    )
    yield from AT_LEAST_ZERO(where, {"temperature": sampling.temperature})
    if sampling.top_p > 1:
        yield from SHARE(where, {"top_p": sampling.top_p})


def _section(engine: EngineConfig, where: str) -> Iterator[LidrError]:
    """A kind has its own section, and no other."""
    sections = {EngineKind.VLLM: engine.vllm, EngineKind.OPENAI: engine.endpoint}
    names = {EngineKind.VLLM: "vllm", EngineKind.OPENAI: "endpoint"}
    for kind, section in sections.items():
        if (section is not None) != (engine.kind is kind):
            yield LidrError(
                f"is {'null' if section is None else 'set'}, and the engine's kind is {engine.kind}",
                where=f"{where}.{names[kind]}",
                instead=f"choose the engine as a whole: engine={engine.kind}",
            )


def _endpoint(endpoint: EndpointConfig, where: str) -> Iterator[LidrError]:
    yield from POSITIVE(where, {"concurrency": endpoint.concurrency, "timeout": endpoint.timeout})
    yield from AT_LEAST_ZERO(where, {"retries": endpoint.retries})
    limits = {
        "budget_tokens": endpoint.budget_tokens,
        "budget_cost": endpoint.budget_cost,
        "price_input": endpoint.price_input,
        "price_output": endpoint.price_output,
    }
    yield from AT_LEAST_ZERO(where, {k: v for k, v in limits.items() if v is not None})
    scheme, _, rest = endpoint.url.partition("://")
    if "@" in rest or "?" in rest or "#" in rest:
        yield LidrError(
            "holds more than an address, and a key or password in it would be written down",
            where=f"{where}.url",
            instead=f"type scheme, host and path alone; the key goes into the variable of {where}.key_variable",
        )
    elif scheme not in ("http", "https") or not rest.isascii() or not rest.isprintable() or " " in rest:
        yield LidrError(
            f"{short(endpoint.url)!r} is no web address",
            where=f"{where}.url",
            instead="type the server's base URL, such as http://127.0.0.1:8000/v1",
        )
    if endpoint.budget_cost is not None and None in (endpoint.price_input, endpoint.price_output):
        yield LidrError(
            "a limit on money needs prices, and an unknown price is not 0",
            where=f"{where}.budget_cost",
            instead=f"type {where}.price_input=<...> {where}.price_output=<...> per million tokens, or null",
        )


def _served(config: RunConfig) -> Iterator[LidrError]:
    """A server does not know the models that a run trains."""
    endpoint = config.engine.endpoint
    generates = config.iterations > 1 or (config.iterations == 1 and config.asked_benchmarks)
    if endpoint is not None and generates and ITERATION not in endpoint.model:
        yield LidrError(
            f"the server has one model {endpoint.model!r}, and M_1 answers too",
            where="engine.endpoint.model",
            instead=f"serve each M_t under a name with {ITERATION} in it, or type engine=transformers",
        )


def _translator(config: RunConfig) -> Iterator[LidrError]:
    translator = config.translator
    yield from _sampling(translator.sampling, "translator.sampling")
    has = translator.engine is not None and translator.model is not None
    if translator.kind is TranslatorKind.ENGINE:
        if not has:
            yield LidrError(
                "another model translates, and engine or model is null",
                where="translator",
                instead="type translator=engine translator.model.path=<folder or hub id>",
            )
        if translator.engine is not None:
            yield from one_engine(translator.engine, "translator.engine")
    elif translator.engine is not None or translator.model is not None:
        yield LidrError(
            f"{translator.kind} reads neither engine nor model",
            where="translator",
            instead="type translator=engine",
        )
    if translator.kind is TranslatorKind.NONE and config.pairs.control is PairControl.ROUND_TRIP:
        yield LidrError(
            "round_trip needs a translator: with translator=none no text of a pair is a translation",
            where="pairs.control",
            instead="type translator=self, or pairs=lidr",
        )
    if translator.kind is TranslatorKind.NONE and config.pairs.filters.off_target_chosen:
        yield LidrError(
            "would drop every pair: without a translator the chosen answers stay in the dominant language",
            where="pairs.filters.off_target_chosen",
            instead="type pairs.filters.off_target_chosen=false",
        )


def _vllm(config: RunConfig) -> Iterator[LidrError]:
    """What vLLM would refuse when it starts, and a GPU that it would not give back to training."""
    translator = config.translator
    engines = {"engine": config.engine}
    if translator.engine is not None and translator.engine != config.engine:
        engines["translator.engine"] = translator.engine
    for where, engine in engines.items():
        if engine.kind is EngineKind.VLLM:
            yield from _vllm_engine(config, engine, where)
    samplings = {
        "engine": (config.engine, config.engine.sampling),
        "translator": (translator.engine or config.engine, translator.sampling),
    }
    for where, (asked, sampling) in samplings.items():
        if asked.kind is EngineKind.VLLM and sampling.temperature > _VLLM_TEMPERATURE:
            yield LidrError(
                f"{sampling.temperature:g} is more than vLLM takes",
                where=f"{where}.sampling.temperature",
                instead=f"type at most {_VLLM_TEMPERATURE:g}, or engine=transformers",
            )


def _vllm_engine(config: RunConfig, engine: EngineConfig, where: str) -> Iterator[LidrError]:
    if engine.token_budget is not None and engine.token_budget < engine.batch_size:
        yield LidrError(
            f"{engine.token_budget} tokens a forward pass are too few for {engine.batch_size} requests",
            where=f"{where}.token_budget",
            instead=f"type {where}.token_budget={engine.batch_size} or more, or null",
        )
    if config.processes is Processes.INLINE and config.trainer.accelerator is Accelerator.CUDA:
        yield LidrError(
            "vLLM gives a GPU's memory back only when its process ends",
            where="processes",
            instead="type processes=separate",
        )
