from collections import Counter

import pytest
import torch
from torch import nn

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train import InfoNCE, LayerMatryoshkaLoss
from polyvec.train.objectives.layer_matryoshka import coordinate_divergence, doubling_sizes

LAYERS, ROWS, WIDTH = 4, 5, 16
PAIRS = [(1, 2), (2, 4), (3, 8), (4, 16)]


def stacks(count: int = 2, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(LAYERS, ROWS, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


def divergence_by_hand(student, teacher, temperature) -> float:
    """Sum over coordinates of p log(p / q), mean over rows; p of the teacher."""
    total = 0.0
    for row, target in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = (torch.softmax(torch.tensor(v, dtype=torch.float64) / temperature, 0) for v in (target, row))
        total += float((p * (p / q).log()).sum())
    return total / len(student)


def base(first, second, layer, size) -> float:
    parts = (part[layer - 1, :, :size] for part in (first, second))
    return InfoNCE(0.1)(*parts).item()


def test_2dmse_is_the_sum_of_the_card():
    first, second = stacks()
    loss = LayerMatryoshkaLoss(InfoNCE(0.1), kl_weight=0.5, kl_temperature=2.0, seed=3)
    for _ in range(6):
        value = loss(first, second).item()
        (n, d, weight), (last, same_size, _), inner, full = loss.last_exits
        assert (last, same_size, full) == (LAYERS, d, (LAYERS, WIDTH, 1.0))
        assert inner == (n, WIDTH, weight)
        assert weight == 1 / n
        expected = base(first, second, LAYERS, WIDTH) + base(first, second, LAYERS, d)
        expected += (base(first, second, n, WIDTH) + base(first, second, n, d)) / n
        rows = [torch.cat([part[layer - 1] for part in (first, second)]) for layer in (n, LAYERS)]
        expected += 0.5 * 2.0 * divergence_by_hand(rows[0], rows[1], 2.0)
        assert value == pytest.approx(expected)


def test_2dmse_draws_every_inner_layer_and_size_equally_often_and_no_other():
    first, second = stacks()
    loss = LayerMatryoshkaLoss(InfoNCE(), distill=None, seed=0)
    drawn = Counter()
    for _ in range(600):
        loss(first, second)
        drawn[loss.last_exits[0][:2]] += 1
    assert set(drawn) == {(n, 8) for n in (1, 2, 3)}
    assert min(drawn.values()) > 150
    with_sizes = LayerMatryoshkaLoss(InfoNCE(), [2, 4, 16], distill=None, seed=0)
    seen = set()
    for _ in range(80):
        with_sizes(first, second)
        seen.add(with_sizes.last_exits[0].size)
    assert seen == {2, 4}  # the full width is trained anyway


def test_same_seed_same_draws():
    first, second = stacks()
    draws = [[], []]
    for record in draws:
        loss = LayerMatryoshkaLoss(sizes=[2, 4, 8], seed=11)
        torch.rand(7)  # the global generator has no part in it
        for _ in range(20):
            loss(first, second)
            record.append(loss.last_exits)
    assert draws[0] == draws[1]


def test_all_is_every_layer_with_every_size():
    first, second = stacks()
    loss = LayerMatryoshkaLoss(InfoNCE(0.1), [2, 8], sampler="all", prior_weight=0.25)
    expected = sum(
        (1.0 if n == LAYERS else 0.25) * base(first, second, n, d) for n in range(1, LAYERS + 1) for d in (2, 8, 16)
    )
    rows = [torch.cat([part[n] for part in (first, second)]) for n in range(LAYERS)]
    expected += sum(divergence_by_hand(rows[n], rows[-1], 1.0) for n in range(LAYERS - 1))
    assert loss(first, second).item() == pytest.approx(expected)


class TestDiagonal:
    def test_coordinates(self):
        first, second = stacks()
        loss = LayerMatryoshkaLoss(InfoNCE(0.1), sampler="diagonal", pairs=PAIRS, kl_weight=0.3)
        expected = sum(base(first, second, n, d) for n, d in PAIRS)
        for n, d in PAIRS[:-1]:
            rows = [torch.cat([part[layer - 1, :, :d] for part in (first, second)]) for layer in (n, LAYERS)]
            expected += 0.3 * divergence_by_hand(rows[0], rows[1], 1.0)
        assert loss(first, second).item() == pytest.approx(expected)

    @pytest.mark.parametrize("normalize", [True, False])
    def test_scores_with_negatives(self, normalize):
        first, second = stacks()
        negatives = torch.randn(LAYERS, ROWS, 2, WIDTH, dtype=torch.float64)
        inner = InfoNCE(0.1, normalize=normalize)
        loss = LayerMatryoshkaLoss(
            inner, sampler="diagonal", pairs=PAIRS, distill="scores", kl_temperature=0.5, normalize=normalize
        )
        scores, expected = [], 0.0
        for n, d in PAIRS:
            parts = [part[n - 1, ..., :d] for part in (first, second, negatives)]
            if normalize:
                parts = [part / part.norm(dim=-1, keepdim=True) for part in parts]
            expected += inner(*parts).item()
            scores.append(parts[0] @ torch.cat([parts[1], parts[2].reshape(-1, d)]).T)
        expected += sum(divergence_by_hand(part, scores[-1], 0.5) for part in scores[:-1])
        assert loss(first, second, negatives).item() == pytest.approx(expected)

    @pytest.mark.parametrize("distill", ["coordinates", "scores", None])
    def test_with_the_full_model_alone_it_is_the_objective(self, distill):
        first, second = stacks()
        loss = LayerMatryoshkaLoss(InfoNCE(0.1), sampler="diagonal", pairs=[(LAYERS, WIDTH)], distill=distill)
        assert loss(first, second).item() == pytest.approx(InfoNCE(0.1)(first[-1], second[-1]).item(), rel=1e-12)


@pytest.mark.parametrize("distill", ["coordinates", "scores"])
def test_distillation_of_equal_layers_is_zero_and_teaches_the_student_alone(distill):
    def nothing(*parts, **options):
        return parts[0].sum() * 0

    equal = [part[:1].expand(LAYERS, -1, -1) for part in stacks()]
    loss = LayerMatryoshkaLoss(nothing, [4], sampler="all", distill=distill)
    assert loss(*equal).item() == pytest.approx(0.0, abs=1e-12)
    first, second = stacks()
    value = loss(first, second)
    assert value > 0
    value.backward()
    assert first.grad[-1].abs().max() == 0  # the teacher is detached
    assert (first.grad[:-1].abs().amax(dim=(1, 2)) > 0).all()
    first, second = stacks()
    loss = LayerMatryoshkaLoss(nothing, [4], sampler="all", distill=distill, detach_teacher=False)
    loss(first, second).backward()
    assert first.grad[-1].abs().max() > 0


def test_the_teacher_is_the_first_argument_of_the_divergence():
    """KL(teacher || student) is infinite where the student says never and the teacher says maybe, not the other way."""
    maybe, never = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, -200.0]])
    assert coordinate_divergence(student=never, teacher=maybe) > 50
    assert coordinate_divergence(student=maybe, teacher=never).item() == pytest.approx(0.6931, abs=1e-3)


class Tower(nn.Module):
    """Layers in a row; pooled output of each."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)]).double()

    def forward(self, rows, depth=LAYERS):
        outputs = []
        for layer in self.layers[:depth]:
            rows = torch.tanh(layer(rows))
            outputs.append(rows)
        return torch.stack(outputs)


def test_layers_above_the_drawn_one_learn_from_the_last_layer_alone():
    inputs = torch.randn(2, ROWS, WIDTH, dtype=torch.float64)
    tower, reference = Tower(), Tower()
    loss = LayerMatryoshkaLoss(InfoNCE(0.1), [4], seed=0)
    for _ in range(20):
        tower.zero_grad()
        reference.zero_grad()
        loss(*(tower(part) for part in inputs)).backward()
        drawn = loss.last_exits[0].layer
        parts = [reference(part) for part in inputs]
        last = InfoNCE(0.1)(*(part[-1] for part in parts)) + InfoNCE(0.1)(*(part[-1, :, :4] for part in parts))
        last.backward()
        for number in range(LAYERS):
            equal = torch.allclose(tower.layers[number].weight.grad, reference.layers[number].weight.grad)
            assert equal == (number >= drawn)  # layers count from 0 here, from 1 there


def test_layer_one_is_the_model_cut_to_one_layer():
    inputs = torch.randn(2, ROWS, WIDTH, dtype=torch.float64)
    tower = Tower()
    loss = LayerMatryoshkaLoss(InfoNCE(0.1), sampler="diagonal", pairs=[(1, 8), (LAYERS, WIDTH)], distill=None)
    value = loss(*(tower(part) for part in inputs)).item()
    cut = InfoNCE(0.1)(*(tower(part, depth=1)[0][:, :8] for part in inputs)).item()
    whole = InfoNCE(0.1)(*(tower(part)[-1] for part in inputs)).item()
    assert value == pytest.approx(cut + whole, abs=1e-6)


def test_labels_and_keywords_pass_untouched():
    seen = []

    def objective(first, labels, *, teacher):
        seen.append((first.shape, labels, teacher))
        return first.sum()

    labels, teacher = torch.arange(ROWS), torch.ones(ROWS, 3)
    first = stacks(1)[0]
    LayerMatryoshkaLoss(objective, sampler="diagonal", pairs=PAIRS)(first, labels, teacher=teacher)
    assert [shape for shape, _, _ in seen] == [(ROWS, size) for _, size in PAIRS]
    assert all(given is labels and scores is teacher for _, given, scores in seen)


def test_doubling_sizes():
    assert doubling_sizes(768) == (8, 16, 32, 64, 128, 256, 512)
    assert doubling_sizes(96) == (8, 16, 32, 64)
    assert doubling_sizes(64) == (8, 16, 32)  # the width itself is left out
    assert doubling_sizes(8) == ()


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sampler": "some"}, "sampler: got 'some'"),
            ({"distill": "logits"}, "distill: got 'logits'"),
            ({"sampler": "diagonal"}, "pairs: got None"),
            ({"pairs": PAIRS}, "pairs: got .* with sampler='2dmse'"),
            ({"sampler": "diagonal", "pairs": []}, "pairs: got none"),
            ({"sampler": "diagonal", "pairs": PAIRS, "sizes": [2]}, "sizes: 'diagonal'"),
            ({"sampler": "diagonal", "pairs": PAIRS[::-1]}, "needs increasing layers and sizes"),
            ({"sampler": "diagonal", "pairs": [PAIRS[0], *PAIRS]}, "without repeats"),
            ({"sampler": "diagonal", "pairs": [(0, 2)]}, "layer: got 0"),
            ({"sizes": [8, 4]}, "sizes: got"),
            ({"kl_temperature": 0}, "kl_temperature: got 0"),
            ({"kl_weight": -1.0}, "kl_weight: got -1.0"),
            ({"prior_weight": 0.0}, "prior_weight: got 0.0"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(InvalidValueError, match=message):
            LayerMatryoshkaLoss(**options)

    def test_types(self):
        with pytest.raises(InvalidTypeError, match="objective"):
            LayerMatryoshkaLoss(3)
        with pytest.raises(InvalidTypeError, match="pairs: got 3"):
            LayerMatryoshkaLoss(sampler="diagonal", pairs=[3])
        with pytest.raises(InvalidTypeError, match="stacks: no positional argument"):
            LayerMatryoshkaLoss()(torch.arange(3))

    def test_stacks(self):
        first, second = stacks()
        loss = LayerMatryoshkaLoss()
        with pytest.raises(InvalidValueError, match=r"shape \(5, 16\), needs \(layers, batch"):
            loss(first[0], second[0])
        with pytest.raises(InvalidValueError, match="number 1 has 3 layers"):
            loss(first, second[:3])
        with pytest.raises(InvalidValueError, match="number 1 has 4 layers of 15 dimensions"):
            loss(first, second[..., :15])
        with pytest.raises(InvalidValueError, match="got one layer"):
            loss(first[:1], second[:1])
        with pytest.raises(InvalidValueError, match="none is below the width 8"):
            loss(first[..., :8], second[..., :8])
        with pytest.raises(InvalidValueError, match="sizes: got 32, but the vectors have 16"):
            LayerMatryoshkaLoss(sizes=[32])(first, second)
        for pairs in ([(5, 16)], [(4, 32)], [(1, 2), (4, 8)], [(3, 16)]):
            with pytest.raises(InvalidValueError, match=r"the last has to be \(4, 16\), the full model"):
                LayerMatryoshkaLoss(sampler="diagonal", pairs=pairs)(first, second)

        def scalar(part):
            return part.sum()

        with pytest.raises(InvalidValueError, match="'scores' needs candidates"):
            LayerMatryoshkaLoss(scalar, sampler="diagonal", pairs=PAIRS, distill="scores")(first)
