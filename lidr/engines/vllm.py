"""Generation with vLLM's offline engine, in this process."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import count, islice
from typing import Any

from transformers import GenerationConfig

from lidr import model_folder
from lidr.chat import ChatFormat
from lidr.config import Accelerator, EngineConfig, ModelConfig, SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.engines.endings import ending_ids, first_stop
from lidr.engines.seeds import request_seed
from lidr.engines.vllm_setup import context, failures, start
from lidr.errors import LidrError
from lidr.models import is_adapter, load_config, load_tokenizer, whole_weights

_READ_AHEAD = 3  # batches that wait inside the engine beside the one that runs
_FINISHED = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class VllmEngine:
    """Answers up to `batch_size` requests at a time; a new one starts as soon as another ends.

    A process has one: a later one ends it.

    Args:
        engine: the section `engine`.
        model: how the model is loaded.
        path: folder or hub id of a model, or a peft adapter's folder; then its base is loaded and every request
            goes through the adapter.
        accelerator: what it runs on.
        seed: of sampling.

    Raises:
        LidrError: the engine does not start; see `lidr.engines.vllm_setup.start`.
    """

    def __init__(
        self, engine: EngineConfig, model: ModelConfig, path: str, accelerator: Accelerator, seed: int
    ) -> None:
        model_folder.check(path)
        self.chat = ChatFormat(load_tokenizer(path, model.revision), model.system_prompt)
        self._engine = start(engine, model, path, accelerator, seed)
        self._context = context(self._engine)
        self._batch_size, self._seed = engine.batch_size, seed
        settings = _settings(*whole_weights(path, model.revision))
        self._stop_ids = ending_ids(settings.eos_token_id, self.chat)
        self._adapter = _adapter(path)
        self._numbers = count()

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `lidr.engines.base.Engine`."""
        waiting = (r for r in requests if r.key not in done)
        inside: dict[str, Request] = {}
        try:
            while True:
                fits = len(inside) <= _READ_AHEAD * self._batch_size
                batch = list(islice(waiting, self._batch_size)) if fits else []
                if refused := self._admit(batch, sampling, inside):
                    yield refused
                if inside:
                    if finished := self._step(inside):
                        yield finished
                elif not batch:
                    return
        except GeneratorExit:
            self._engine.abort_request(list(inside))
            raise

    def _admit(
        self, batch: Sequence[Request], sampling: SamplingConfig, inside: dict[str, Request]
    ) -> list[Completion]:
        """Hands requests over; returns those that find no room in the context."""
        refused = []
        prompts = self.chat.batch_prompt_ids([r.turn for r in batch])
        for request, ids in zip(batch, prompts, strict=True):
            room = self._context - len(ids)
            if room <= 0:
                refused.append(Completion(request.key, "", FinishReason.TOO_LONG, 0))
                continue
            name = str(next(self._numbers))
            with failures(f"request {request.key!r}"):
                self._engine.add_request(
                    name,
                    import_module("vllm.inputs").tokens_input(ids),
                    self._parameters(request, sampling, room),
                    lora_request=self._adapter,
                )
            inside[name] = request
        return refused

    def _parameters(self, request: Request, sampling: SamplingConfig, room: int) -> Any:
        return import_module("vllm").SamplingParams(
            max_tokens=min(sampling.max_new_tokens, room),
            repetition_penalty=sampling.repetition_penalty,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=request_seed(self._seed, request.key, request.draw) if sampling.temperature > 0 else None,
            stop=list(request.stop) or None,
            include_stop_str_in_output=True,
            stop_token_ids=sorted(self._stop_ids),
            detokenize=bool(request.stop),  # the text is made here; vLLM's own is for finding stop texts
            output_kind=import_module("vllm.sampling_params").RequestOutputKind.FINAL_ONLY,
        )

    def _step(self, inside: dict[str, Request]) -> list[Completion]:
        """One forward pass; returns what it finished."""
        with failures("engine.kind=vllm"):
            outputs = [output for output in self._engine.step() if output.finished]
        return [self._completion(inside.pop(o.request_id), o.outputs[0]) for o in outputs]

    def _completion(self, request: Request, output: Any) -> Completion:
        if output.finish_reason not in _FINISHED:
            raise LidrError(
                f"vLLM gave up on the request ({output.finish_reason})",
                where=f"request {request.key!r}",
                instead="run the same command again; what stands is kept",
            )
        ids = list(output.token_ids)
        ended = bool(ids) and ids[-1] in self._stop_ids
        text, _ = first_stop(self.chat.decode(ids[:-1] if ended else ids), request.stop)
        return Completion(request.key, text, _FINISHED[output.finish_reason], len(ids))


def _settings(base: str, revision: str | None) -> GenerationConfig:
    """The model's own, or what its configuration says where it has none; so does transformers."""
    try:
        return GenerationConfig.from_pretrained(base, revision=revision or "main")
    except OSError:
        return GenerationConfig.from_model_config(load_config(base, revision))


def _adapter(path: str) -> Any:
    """What a request names its adapter by, None where the model is whole."""
    if not is_adapter(path):
        return None
    return import_module("vllm.lora.request").LoRARequest("adapter", 1, path)
