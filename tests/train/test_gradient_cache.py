import copy

import pytest
import torch
from torch import nn

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train import (
    GuidedContrastiveLoss,
    InfoNCE,
    LayerMatryoshkaLoss,
    MatryoshkaLoss,
    NTXentLoss,
    VICRegLoss,
    cached_backward,
)

ROWS, WIDTH = 10, 6


def encoder(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(WIDTH, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 8), nn.LayerNorm(8)]
    return nn.Sequential(*layers).double()


def columns(count: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64) for _ in range(count)]


def gradients(*modules) -> list[torch.Tensor]:
    return [parameter.grad for module in modules for parameter in module.parameters()]


def same(first, second) -> bool:
    return len(first) == len(second) > 0 and all(
        torch.allclose(one, other, rtol=1e-10, atol=1e-13) for one, other in zip(first, second, strict=True)
    )


GUIDE = torch.randn(2, ROWS, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
OBJECTIVES = {
    "InfoNCE": (InfoNCE(0.1), 2, {}),
    "with negatives": (InfoNCE(0.1, blocks=("qp", "qq", "pp", "qn")), 3, {}),
    "learned temperature": (InfoNCE(0.1, learn_temperature=True).double(), 2, {}),
    "guided": (GuidedContrastiveLoss(0.1), 2, {"guide_anchors": GUIDE[0], "guide_positives": GUIDE[1]}),
    "Matryoshka": (MatryoshkaLoss(InfoNCE(0.1, symmetric=True), [2, 8]), 2, {}),
    "NT-Xent": (NTXentLoss(), 2, {}),
    "VICReg": (VICRegLoss(), 2, {}),
}


@pytest.mark.parametrize("chunk_size", [1, 3, 10, 99])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_equal_those_of_the_whole_batch(name, chunk_size):
    objective, count, options = OBJECTIVES[name]
    plain, cached, own = encoder(), encoder(), copy.deepcopy(objective)
    expected = own(*(plain(column) for column in columns(count)), **options)
    expected.backward()
    other = copy.deepcopy(objective)
    loss = cached_backward(cached, columns(count), other, chunk_size, **options)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert not loss.requires_grad
    assert same(gradients(cached, other), gradients(plain, own))


class Layers(nn.Module):
    """All layers, pooled: `(layers, rows, dim)`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(3)]).double()

    def forward(self, rows):
        outputs = []
        for layer in self.layers:
            rows = torch.tanh(layer(rows))
            outputs.append(rows)
        return torch.stack(outputs)


def test_an_encoder_that_returns_its_layers():
    plain, cached = Layers(), Layers()
    objective = LayerMatryoshkaLoss(InfoNCE(0.1), [2], sampler="all")
    objective(*(plain(column) for column in columns())).backward()
    cached_backward(cached, columns(), objective, 4, batch_dim=1)
    assert same(gradients(cached), gradients(plain))


def test_dropout_draws_the_same_numbers_again():
    """Against the same chunks with one graph over all of them."""
    plain, cached = encoder(dropout=0.5), encoder(dropout=0.5)
    torch.manual_seed(7)
    parts = [torch.cat([plain(part) for part in column.split(3)]) for column in columns()]
    expected = InfoNCE(0.1)(*parts)
    expected.backward()
    after = torch.rand(3)
    torch.manual_seed(7)
    loss = cached_backward(cached, columns(), InfoNCE(0.1), 3)
    assert torch.equal(torch.rand(3), after)  # random numbers go on as after one pass
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert same(gradients(cached), gradients(plain))
    torch.manual_seed(8)
    changed = encoder(dropout=0.5)
    cached_backward(changed, columns(), InfoNCE(0.1), 3)
    assert not same(gradients(changed), gradients(plain))


@pytest.mark.parametrize("chunk_size", [2, 5])
def test_only_one_chunk_has_a_graph_at_a_time(chunk_size):
    """Elements that autograd keeps for the encoder's backward pass, counted while they are kept."""
    alive, highest = 0, 0

    class Kept:
        def __init__(self, tensor):
            nonlocal alive, highest
            self.tensor, self.size = tensor, tensor.numel()
            alive += self.size
            highest = max(highest, alive)

        def __del__(self):
            nonlocal alive
            alive -= self.size

    network = encoder()
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    seen = []

    def watched(rows):
        seen.append((len(rows), torch.is_grad_enabled()))
        return network(rows)

    def pack(tensor):
        return tensor if tensor.data_ptr() in weights else Kept(tensor)

    def unpack(kept):
        return kept.tensor if isinstance(kept, Kept) else kept

    def no_graph(*embeddings):  # the objective keeps little, but it is not what is measured here
        return sum(embedding.sum() for embedding in embeddings)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        cached_backward(watched, columns(), no_graph, chunk_size)
        in_chunks, highest = highest, 0
        no_graph(*(network(column) for column in columns())).backward()
    assert highest * chunk_size == pytest.approx(in_chunks * 2 * ROWS)
    assert max(rows for rows, _ in seen) == chunk_size
    assert [graph for _, graph in seen] == [False] * (len(seen) // 2) + [True] * (len(seen) // 2)


def test_mappings_lists_and_modules_that_return_mappings():
    network = encoder()

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, features):
            masked = features["rows"] * features["mask"][:, None]
            return {"sentence_embedding": self.network(masked), "other": None}

    first, second = columns()
    mask = torch.ones(ROWS, dtype=torch.float64)
    mask[4] = 0
    InfoNCE(0.1)(network(first * mask[:, None]), network(second)).backward()
    expected = [gradient.clone() for gradient in gradients(network)]
    network.zero_grad()
    given = [{"rows": first, "mask": mask}, {"rows": second, "mask": torch.ones_like(mask)}]
    cached_backward(Tokens(), given, InfoNCE(0.1), 3)
    assert same(gradients(network), expected)
    network.zero_grad()
    texts = [[row.tolist() for row in column] for column in (first * mask[:, None], second)]
    cached_backward(lambda part: network(torch.tensor(part, dtype=torch.float64)), texts, InfoNCE(0.1), 3)
    assert same(gradients(network), expected)


def test_scale_and_accumulation():
    network, expected = encoder(), encoder()
    (0.25 * InfoNCE()(*(expected(column) for column in columns()))).backward()
    (0.25 * InfoNCE()(*(expected(column) for column in columns(3)[1:]))).backward()
    losses = [cached_backward(network, part, InfoNCE(), 4, loss_scale=0.25) for part in (columns(), columns(3)[1:])]
    assert same(gradients(network), gradients(expected))
    assert losses[0].item() == pytest.approx(InfoNCE()(*(network(column) for column in columns())).item())


def test_weights_keep_their_gradient_under_autocast():
    """Autocast keeps converted weights; those of the pass without a graph must not be used again."""
    network = nn.Linear(WIDTH, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cached_backward(network, [column.float() for column in columns()], InfoNCE(), 3)
    assert network.weight.grad is not None
    assert network.weight.grad.abs().sum() > 0


def test_a_column_that_the_loss_does_not_use():
    plain, cached = encoder(), encoder()
    InfoNCE()(*(plain(column) for column in columns())).backward()
    cached_backward(cached, columns(3), lambda first, second, _: InfoNCE()(first, second), 4)
    assert same(gradients(cached), gradients(plain))


def test_processes_exchange_gradients_once(tmp_path):
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        plain, network = encoder(), encoder()
        wrapped = nn.parallel.DistributedDataParallel(network)
        exchanges = []

        def exchange(state, bucket):
            exchanges.append(bucket.index())
            future = torch.futures.Future()
            future.set_result(bucket.buffer())
            return future

        wrapped.register_comm_hook(None, exchange)
        InfoNCE()(*(plain(column) for column in columns())).backward()
        cached_backward(wrapped, columns(), InfoNCE(), 3)
        assert same(gradients(network), gradients(plain))
        assert exchanges == [0]
    finally:
        distributed.destroy_process_group()


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    def test_columns(self):
        network = encoder()
        with pytest.raises(InvalidValueError, match="columns: got none"):
            cached_backward(network, [], InfoNCE(), 2)
        with pytest.raises(InvalidTypeError, match=r"columns\[1\]: got str"):
            cached_backward(network, [columns()[0], "text"], InfoNCE(), 2)
        with pytest.raises(InvalidTypeError, match=r"columns\[0\]: got int"):
            cached_backward(network, [3], InfoNCE(), 2)
        with pytest.raises(InvalidValueError, match=r"columns\[0\]: got no rows"):
            cached_backward(network, [columns()[0][:0]], InfoNCE(), 2)
        with pytest.raises(InvalidValueError, match=r"columns\[0\]: got .* rows, needs the same number"):
            cached_backward(network, [{"a": torch.ones(3), "b": torch.ones(2)}], InfoNCE(), 2)
        with pytest.raises(InvalidValueError, match="chunk_size: got 0"):
            cached_backward(network, columns(), InfoNCE(), 0)

    def test_encoders(self):
        with pytest.raises(InvalidTypeError, match="encoder: got int"):
            cached_backward(3, columns(), InfoNCE(), 2)
        with pytest.raises(InvalidTypeError, match="encoder: returned list"):
            cached_backward(lambda rows: [1], columns(), InfoNCE(), 2)
        with pytest.raises(InvalidValueError, match=r"encoder: returned shape \(1, 6\) for 4 rows"):
            cached_backward(lambda rows: rows[:1], columns(), InfoNCE(), 4)
        network = nn.Sequential(nn.Linear(WIDTH, 4), nn.BatchNorm1d(4)).double()
        with pytest.raises(InvalidValueError, match="layer '1' normalises over the batch"):
            cached_backward(network, columns(), InfoNCE(), 2)
        assert torch.isfinite(cached_backward(network.eval(), columns(), InfoNCE(), 2))

    def test_a_refusal_of_the_objective_leaves_no_gradient(self):
        network = encoder()
        with pytest.raises(InvalidValueError, match="positives"):
            cached_backward(network, [columns()[0], columns()[1][:5]], InfoNCE(), 2)
        assert all(gradient is None for gradient in gradients(network))
