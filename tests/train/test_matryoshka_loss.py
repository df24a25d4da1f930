import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train import InfoNCE, MatryoshkaCrossEntropy, MatryoshkaLoss, halving_sizes, prefix

SIZES, WEIGHTS = (2, 4, 16), (1.5, 0.25, 1.0)


def embeddings(count: int = 2, rows: int = 8, dim: int = 16, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, dim, generator=generator) for _ in range(count)]


class Recorder(nn.Module):
    """An objective that remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, *values, **options):
        self.calls.append((values, options))
        return sum(v.sum() for v in values if isinstance(v, torch.Tensor) and v.is_floating_point())


class TestValue:
    def test_weighted_sum_of_a_plain_loop(self):
        first, second = embeddings()
        by_hand = 0.0
        for size, weight in zip(SIZES, WEIGHTS, strict=True):
            a, b = first[:, :size].double(), second[:, :size].double()
            a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
            scores = (a @ b.T / 0.05).exp()
            by_hand += weight * -(scores.diagonal() / scores.sum(dim=1)).log().mean()
        value = MatryoshkaLoss(InfoNCE(0.05), SIZES, WEIGHTS)(first, second)
        assert value.item() == pytest.approx(by_hand.item(), rel=1e-5)

    @pytest.mark.parametrize("columns", [2, 3])
    def test_equals_sentence_transformers(self, columns):
        from sentence_transformers.sentence_transformer import losses

        class Passing(nn.Module):
            def get_embedding_dimension(self):
                return 16

            def forward(self, features):
                return {"sentence_embedding": features["x"]}

        model = Passing()
        inner = losses.MultipleNegativesRankingLoss(model, scale=20.0)
        peer = losses.MatryoshkaLoss(model, inner, [16, 4, 2], [1.0, 0.25, 1.5])
        given = embeddings(columns)
        expected = peer([{"x": value.clone()} for value in given], None)
        assert MatryoshkaLoss(InfoNCE(1 / 20), SIZES, WEIGHTS)(*given).item() == pytest.approx(
            expected.item(), rel=1e-5
        )

    def test_it_is_a_sum_and_weights_can_make_it_an_average(self):
        given = embeddings()
        parts = [InfoNCE()(*(prefix(value, size) for value in given)).item() for size in SIZES]
        assert MatryoshkaLoss(InfoNCE(), SIZES)(*given).item() == pytest.approx(sum(parts), rel=1e-5)
        average = MatryoshkaLoss(InfoNCE(), SIZES, [1 / 3] * 3)(*given)
        assert average.item() == pytest.approx(np.mean(parts), rel=1e-5)

    def test_only_the_full_size_is_the_objective_itself(self):
        given = embeddings()
        assert MatryoshkaLoss(InfoNCE(), [16])(*given).item() == pytest.approx(InfoNCE()(*given).item(), rel=1e-6)

    def test_default_is_info_nce_on_halved_sizes(self):
        given = embeddings(dim=40)
        expected = MatryoshkaLoss(InfoNCE(), [10, 20, 40])(*given)
        assert MatryoshkaLoss()(*given).item() == expected.item()
        assert halving_sizes(40) == (10, 20, 40)

    def test_objective_may_be_a_plain_function(self):
        def distance(a, b):
            return (a - b).pow(2).sum()

        first, second = embeddings()
        raw = MatryoshkaLoss(distance, [4, 16], normalize=False)(first, second)
        by_hand = (first[:, :4] - second[:, :4]).pow(2).sum() + (first - second).pow(2).sum()
        assert raw.item() == pytest.approx(by_hand.item(), rel=1e-6)


class TestWhatIsSliced:
    def test_slice_first_then_normalise(self):
        recorder = Recorder()
        given = embeddings(1)[0] * 7
        MatryoshkaLoss(recorder, SIZES)(given)
        for size, ((seen,), _) in zip(SIZES, recorder.calls, strict=True):
            assert torch.allclose(seen, normalize(given[:, :size], dim=1), atol=1e-6)
            # normalising before slicing would leave rows shorter than 1
            assert torch.allclose(seen.norm(dim=1), torch.ones(8), atol=1e-6)

    def test_without_normalising_the_slice_is_exact(self):
        recorder = Recorder()
        given = embeddings(1)[0]
        MatryoshkaLoss(recorder, SIZES, normalize=False)(given)
        for size, ((seen,), _) in zip(SIZES, recorder.calls, strict=True):
            assert torch.equal(seen, given[:, :size])

    def test_labels_masks_lists_and_keywords(self):
        recorder = Recorder()
        first, second, third = embeddings(3)
        layers = torch.randn(5, 8, 16)
        labels, scores, mask = torch.arange(8), torch.rand(8), torch.ones(8, 16, dtype=torch.bool)
        teacher = torch.rand(8, 16)  # as wide as an embedding, but by keyword
        MatryoshkaLoss(recorder, [4])(first, labels, scores, mask, [second, third], layers, teacher=teacher)
        (a, seen_labels, seen_scores, seen_mask, pair, seen_layers), options = recorder.calls[0]
        assert a.shape == (8, 4)
        assert seen_layers.shape == (5, 8, 4)
        assert [part.shape for part in pair] == [(8, 4), (8, 4)]
        assert isinstance(pair, list)
        assert seen_labels is labels
        assert seen_scores is scores
        assert seen_mask is mask
        assert options["teacher"] is teacher

    def test_a_zero_row_gives_zeros_and_a_finite_gradient(self):
        first, second = embeddings()
        first[3, :4] = 0
        first.requires_grad_()
        MatryoshkaLoss(InfoNCE(), SIZES)(first, second).backward()
        assert torch.isfinite(first.grad).all()
        assert first.grad.abs().max() < 1e4
        assert torch.equal(prefix(first.detach(), 4)[3], torch.zeros(4))


class TestGradient:
    def test_agrees_with_finite_differences(self):
        given = tuple(value.double().requires_grad_() for value in embeddings(3, rows=5))
        assert torch.autograd.gradcheck(
            MatryoshkaLoss(InfoNCE(0.2, symmetric=True), SIZES, WEIGHTS).double(), given, fast_mode=True
        )

    def test_coordinates_after_the_last_size_are_not_trained(self):
        first, second = (value.requires_grad_() for value in embeddings())
        MatryoshkaLoss(InfoNCE(), [2, 4])(first, second).backward()
        assert first.grad[:, :4].abs().sum() > 0
        assert first.grad[:, 4:].abs().sum() == 0

    def test_gradient_cache_gives_the_gradient_of_one_big_step(self):
        """The embeddings of small pieces, collected without a graph, are enough: the objective needs no model."""
        encoder = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16))
        left, right = torch.randn(12, 6), torch.randn(12, 6)
        objective = MatryoshkaLoss(InfoNCE(), SIZES, WEIGHTS)
        objective(encoder(left), encoder(right)).backward()
        whole = [parameter.grad.clone() for parameter in encoder.parameters()]
        encoder.zero_grad()
        with torch.no_grad():
            cached = [torch.cat([encoder(piece) for piece in side.split(4)]) for side in (left, right)]
        cached = [value.requires_grad_() for value in cached]
        objective(*cached).backward()
        for side, value in zip((left, right), cached, strict=True):
            for piece, gradient in zip(side.split(4), value.grad.split(4), strict=True):
                encoder(piece).backward(gradient)
        for expected, parameter in zip(whole, encoder.parameters(), strict=True):
            assert torch.allclose(expected, parameter.grad, atol=1e-5)

    def test_training_makes_short_prefixes_useful_and_plain_training_does_not(self):
        """A planted case: the signal can sit in any coordinate, only the nested loss moves it to the front."""
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn(256, 16, generator=generator)
        left, right = (
            hidden @ torch.randn(16, 32, generator=generator) + 0.3 * torch.randn(256, 32, generator=generator)
            for _ in range(2)
        )

        def recall_at_4_coordinates(sizes):
            with torch.random.fork_rng():
                torch.manual_seed(1)
                towers = nn.ModuleList([nn.Linear(32, 32), nn.Linear(32, 32)])
            optimiser = torch.optim.Adam(towers.parameters(), 0.02)
            objective = MatryoshkaLoss(InfoNCE(), sizes)
            for _ in range(40):
                loss = objective(towers[0](left[:192]), towers[1](right[:192]))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            a, b = prefix(towers[0](left[192:]), 4), prefix(towers[1](right[192:]), 4)
            return ((a @ b.T).argmax(1) == torch.arange(64)).float().mean().item()

        assert recall_at_4_coordinates([2, 4, 8, 16, 32]) > recall_at_4_coordinates([32]) + 0.2


class TestModule:
    def test_weights_are_a_buffer_that_moves_and_is_saved(self):
        loss = MatryoshkaLoss(InfoNCE(), SIZES, WEIGHTS)
        assert dict(loss.named_buffers())["weights"].tolist() == list(WEIGHTS)
        assert next(loss.to("meta").buffers()).device.type == "meta"
        file = io.BytesIO()
        torch.save(MatryoshkaLoss(InfoNCE(), SIZES, WEIGHTS).state_dict(), file)
        file.seek(0)
        other = MatryoshkaLoss(InfoNCE(), SIZES)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert other.weights.tolist() == list(WEIGHTS)

    def test_objective_is_a_submodule_and_its_parameters_are_found(self):
        objective = nn.Bilinear(4, 4, 1)
        loss = MatryoshkaLoss(objective, [4])
        assert len(list(loss.parameters())) == 2

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_type_follows_the_embeddings(self, dtype):
        loss = MatryoshkaLoss(InfoNCE(), SIZES, WEIGHTS)(*(value.to(dtype) for value in embeddings()))
        assert loss.dtype == dtype
        assert torch.isfinite(loss)

    def test_same_input_same_value(self):
        loss = MatryoshkaLoss(InfoNCE(), SIZES)
        assert loss(*embeddings()).item() == loss(*embeddings()).item()


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    @pytest.mark.parametrize(
        ("sizes", "message"),
        [
            ([], "got none"),
            ([4, 2], "increasing"),
            ([4, 4], "increasing"),
            ([0, 4], "at least 1"),
            ([-2], "at least 1"),
            ([2.0], "needs an integer"),
            ([True, 4], "needs an integer"),
            ("8", "needs a sequence"),
            (8, "needs a sequence"),
        ],
    )
    def test_sizes(self, sizes, message):
        with pytest.raises((InvalidValueError, InvalidTypeError), match=message):
            MatryoshkaLoss(InfoNCE(), sizes)

    def test_sizes_larger_than_the_embedding_raise_and_are_not_clipped(self):
        with pytest.raises(InvalidValueError, match="got 32, but the vectors have 16"):
            MatryoshkaLoss(InfoNCE(), [8, 32])(*embeddings())

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            ([1.0], "needs one each"),
            ([1, -1, 1], "not negative"),
            ([1, float("nan"), 1], "finite"),
            ([0, 0, 0], "all are 0"),
        ],
    )
    def test_weights(self, weights, message):
        with pytest.raises(InvalidValueError, match=message):
            MatryoshkaLoss(InfoNCE(), SIZES, weights)

    def test_weights_without_sizes(self):
        with pytest.raises(InvalidValueError, match="without sizes"):
            MatryoshkaLoss(InfoNCE(), weights=[1.0])

    def test_objective(self):
        with pytest.raises(InvalidTypeError, match="callable"):
            MatryoshkaLoss("info-nce", SIZES)
        with pytest.raises(InvalidTypeError, match=r"shape \(8,\), needs a scalar"):
            MatryoshkaLoss(lambda a, b: (a * b).sum(1), SIZES)(*embeddings())
        with pytest.raises(InvalidTypeError, match="returned float"):
            MatryoshkaLoss(lambda a, b: 1.0, SIZES)(*embeddings())

    def test_embeddings(self):
        first, second = embeddings()
        loss = MatryoshkaLoss(InfoNCE(), SIZES)
        with pytest.raises(InvalidTypeError, match="no positional argument"):
            loss()
        with pytest.raises(InvalidTypeError, match="no positional argument"):
            loss(torch.arange(8), first[0])
        with pytest.raises(InvalidValueError, match="number 1 has 15 dimensions, the first has 16"):
            loss(first, second[:, :15])
        with pytest.raises(InvalidValueError, match="negatives: got 16 dimensions, needs 2"):
            loss(first, second, negatives=second)  # by keyword it is not sliced, and that does not go unnoticed
        second[5, 3] = float("nan")
        with pytest.raises(InvalidValueError, match="number 1: row 5 holds NaN"):
            loss(first, second)


class TestSupervised:
    def test_sum_of_cross_entropies_by_hand(self):
        values, labels = embeddings(1)[0], torch.arange(8) % 3
        objective = MatryoshkaCrossEntropy(SIZES, 3, WEIGHTS, label_smoothing=0.1)
        by_hand = sum(
            weight * cross_entropy(values[:, :size] @ head.weight.T + head.bias, labels, label_smoothing=0.1)
            for size, weight, head in zip(SIZES, WEIGHTS, objective.heads.heads, strict=True)
        )
        assert objective(values, labels).item() == pytest.approx(by_hand.item(), rel=1e-6)

    def test_heads_are_its_parameters_and_the_efficient_form_has_fewer(self):
        count = {
            efficient: sum(
                parameter.numel() for parameter in MatryoshkaCrossEntropy(SIZES, 3, None, efficient).parameters()
            )
            for efficient in (False, True)
        }
        assert count == {False: 3 * (2 + 4 + 16) + 9, True: 3 * 16 + 3}

    @pytest.mark.usefixtures("own_messages")
    def test_bad_input(self):
        objective = MatryoshkaCrossEntropy(SIZES, 3)
        values = embeddings(1)[0]
        with pytest.raises(InvalidValueError, match="needs 8 integers"):
            objective(values, torch.arange(7))
        with pytest.raises(InvalidValueError, match="needs 8 integers"):
            objective(values, torch.rand(8))
        with pytest.raises(InvalidValueError, match="got 15 dimensions, needs 16"):
            objective(values[:, :15], torch.arange(8))
        with pytest.raises(InvalidValueError, match="label_smoothing"):
            MatryoshkaCrossEntropy(SIZES, 3, label_smoothing=1.5)
