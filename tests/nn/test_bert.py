"""The inference-only BERT against the library's, on random weights of each family."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from itemspace.nn.bert import LONG, SHORT, Bert, BertShape, attend  # noqa: E402

SIZES = dict(
    vocab_size=99,
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=80,
    initializer_range=0.3,
)
FAMILIES = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(max_position_embeddings=200, **SIZES)),
    "roberta": lambda: transformers.RobertaModel(transformers.RobertaConfig(max_position_embeddings=202, **SIZES)),
    "xlm-roberta": lambda: transformers.XLMRobertaModel(
        transformers.XLMRobertaConfig(max_position_embeddings=202, **SIZES)
    ),
}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    torch.manual_seed(5)
    made = FAMILIES[request.param]().eval()
    with torch.no_grad():  # norms and biases are drawn as 1 and 0, which would hide a mistake
        for weight in made.parameters():
            if weight.ndim == 1:
                weight.add_(0.3 * torch.randn_like(weight))
    return made


def batch(model, lengths):
    pad = model.config.pad_token_id
    tokens = torch.full((len(lengths), max(lengths)), pad)
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.randint(5, 99, (length,))
        mask[row, :length] = True
    return tokens, mask


def expected(model, tokens, mask):
    with torch.inference_mode():
        return model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state


@pytest.mark.parametrize("lengths", [[1], [9, 9, 9], [12, 5, 1], [SHORT + 30, SHORT, 3]])
def test_float32_is_the_library_model(model, lengths):
    tokens, mask = batch(model, lengths)
    shape = BertShape.of(model.config)
    made = Bert(model.state_dict(), shape, torch.float32)(tokens, None if mask.all() else mask)
    torch.testing.assert_close(made[mask], expected(model, tokens, mask)[mask], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("lengths", [[9, 9, 9], [12, 5, 1], [SHORT + 30, SHORT, 3]])
def test_bfloat16_stays_close_and_ends_in_float32(model, lengths):
    tokens, mask = batch(model, lengths)
    made = Bert(model.state_dict(), BertShape.of(model.config), torch.bfloat16)(tokens, None if mask.all() else mask)
    assert made.dtype == torch.float32
    cosine = torch.cosine_similarity(made[mask], expected(model, tokens, mask)[mask], dim=-1)
    assert cosine.min() > 0.995


def test_padding_is_not_seen(model):
    bert = Bert(model.state_dict(), BertShape.of(model.config), torch.bfloat16)
    tokens, mask = batch(model, [12, 5])
    changed = tokens.masked_fill(~mask, 7)
    assert torch.equal(bert(tokens, mask)[mask], bert(changed, mask)[mask])


@pytest.mark.parametrize("width", [1, 7, SHORT, SHORT + 1, LONG + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_kinds_of_attention_are_softmax_of_scores(width, dtype):
    torch.manual_seed(0)
    mixed = torch.randn(3, width, 3 * 24).to(dtype)
    bias = torch.zeros(3, 1, 1, width)
    bias[1, ..., (width + 1) // 2 :] = float("-inf")
    query, key, value = (part.float().view(3, width, 2, 12).transpose(1, 2) for part in mixed.chunk(3, -1))
    weights = torch.softmax(query @ key.transpose(-1, -2) + bias, -1)
    made = attend(mixed, 2, bias)
    assert made.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(
        made.float(), (weights @ value).transpose(1, 2).reshape(3, width, 24), atol=tolerance, rtol=tolerance
    )


@pytest.mark.parametrize(
    "change", [{"hidden_act": "relu"}, {"position_embedding_type": "relative_key"}, {"is_decoder": True}]
)
def test_what_it_does_not_compute_it_does_not_claim(change):
    config = transformers.BertConfig(**SIZES)
    for name, value in change.items():
        setattr(config, name, value)
    assert BertShape.of(config) is None
    assert BertShape.of(transformers.MPNetConfig(**SIZES)) is None
