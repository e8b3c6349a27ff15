import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaForCausalLM,
    PreTrainedModel,
)

from lidr.chat import ChatFormat
from lidr.training.batching import Batcher, MicroBatch
from lidr.training.logprobs import response_log_probs
from lidr.training.pairs import TokenPairs

TINY = {
    "vocab_size": 262,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "initializer_range": 0.3,
}


def one_by_one(model: PreTrainedModel, batch: MicroBatch) -> torch.Tensor:
    """The definition: each row alone, unpadded, all logits, the response's log-probs added up."""
    sums = []
    for row, mask in enumerate(batch.attention_mask):
        ids = batch.input_ids[row, : int(mask.sum())]
        log_probs = model(input_ids=ids[None]).logits[0].float().log_softmax(-1)
        start = len(ids) - int(batch.response_lengths[row])
        sums.append(sum(log_probs[t - 1, ids[t]] for t in range(start, len(ids))))
    return torch.stack(sums)


@pytest.fixture(scope="module")
def batch(token_pairs: TokenPairs, chat: ChatFormat) -> MicroBatch:
    return Batcher(token_pairs.pairs, chat.pad_id).micro_batch([0, 3, 7])


@torch.no_grad()
def test_sums_over_the_response_of_each_row(m_0: str, batch: MicroBatch) -> None:
    model = LlamaForCausalLM.from_pretrained(m_0).eval()
    torch.testing.assert_close(response_log_probs(model, batch), one_by_one(model, batch))


@torch.no_grad()
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: CohereForCausalLM(CohereConfig(**TINY, logit_scale=0.25)), id="scaled-logits"),
        pytest.param(
            lambda: Gemma2ForCausalLM(Gemma2Config(**TINY, head_dim=8, final_logit_softcapping=3.0)),
            id="capped-logits",
        ),
    ],
)
def test_what_a_model_does_to_its_logits_still_happens(model, batch: MicroBatch) -> None:  # type: ignore[no-untyped-def]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = model().eval()
    torch.testing.assert_close(response_log_probs(built, batch), one_by_one(built, batch))


class AllLogits(torch.nn.Module):
    """A model that cannot pick positions."""

    def __init__(self, inner: PreTrainedModel) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask, use_cache):  # type: ignore[no-untyped-def]
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)


@torch.no_grad()
def test_falls_back_to_all_logits(m_0: str, batch: MicroBatch) -> None:
    model = LlamaForCausalLM.from_pretrained(m_0).eval()
    torch.testing.assert_close(response_log_probs(AllLogits(model), batch), response_log_probs(model, batch))
