import pytest
import torch

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train import InfoNCE


def batch(rows: int = 6, dim: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, dim, generator=generator, dtype=torch.float64) for _ in range(3))


def by_hand(anchors, candidates, temperature):
    total = 0.0
    for row, anchor in enumerate(anchors):
        scores = [float(anchor @ other) / temperature for other in candidates]
        total += torch.logsumexp(torch.tensor(scores, dtype=torch.float64), 0).item() - scores[row]
    return total / len(anchors)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_equals_a_loop_over_pairs(temperature):
    anchors, positives, negatives = batch()
    unit = [value / value.norm(dim=1, keepdim=True) for value in (anchors, positives, negatives)]
    loss = InfoNCE(temperature)
    assert loss(anchors, positives).item() == pytest.approx(by_hand(unit[0], unit[1], temperature))
    everything = torch.cat(unit[1:])
    assert loss(anchors, positives, negatives).item() == pytest.approx(by_hand(unit[0], everything, temperature))
    both = (by_hand(unit[0], unit[1], temperature) + by_hand(unit[1], unit[0], temperature)) / 2
    assert InfoNCE(temperature, symmetric=True)(anchors, positives).item() == pytest.approx(both)
    raw = InfoNCE(temperature, normalize=False)(anchors, positives)
    assert raw.item() == pytest.approx(by_hand(anchors, positives, temperature))


def test_equals_sentence_transformers():
    from sentence_transformers.sentence_transformer import losses

    class Passing(torch.nn.Module):
        def forward(self, features):
            return {"sentence_embedding": features["x"]}

    anchors, positives, negatives = batch()
    peer = losses.MultipleNegativesRankingLoss(Passing(), scale=20.0)
    expected = peer([{"x": anchors}, {"x": positives}, {"x": negatives}], None)
    assert InfoNCE(0.05)(anchors, positives, negatives).item() == pytest.approx(expected.item())


def test_lengths_do_not_matter_and_pairs_that_agree_cost_less():
    anchors, positives, _ = batch()
    loss = InfoNCE()
    assert loss(anchors * 9, positives / 7).item() == pytest.approx(loss(anchors, positives).item())
    assert loss(anchors, anchors) < loss(anchors, positives)
    assert loss(anchors, anchors) < loss(anchors, anchors.flip(0))


def test_gradient_agrees_with_differences():
    given = tuple(value.requires_grad_() for value in batch())
    assert torch.autograd.gradcheck(InfoNCE(0.3, symmetric=True), given, fast_mode=True)


def test_one_pair_is_enough_with_negatives():
    anchors, positives, negatives = batch()
    assert InfoNCE()(anchors[:1], positives[:1], negatives) > 0


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    @pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf")])
    def test_temperature(self, temperature):
        with pytest.raises(InvalidValueError, match="temperature"):
            InfoNCE(temperature)

    def test_temperature_of_another_type(self):
        with pytest.raises(InvalidTypeError, match="temperature"):
            InfoNCE("0.05")

    def test_shapes(self):
        anchors, positives, negatives = batch()
        loss = InfoNCE()
        with pytest.raises(InvalidValueError, match="positives: got 5 rows, needs 6"):
            loss(anchors, positives[:5])
        with pytest.raises(InvalidValueError, match="positives: got 4 dimensions, needs 5"):
            loss(anchors, positives[:, :4])
        with pytest.raises(InvalidValueError, match="negatives: got 4 dimensions, needs 5"):
            loss(anchors, positives, negatives[:, :4])
        with pytest.raises(InvalidValueError, match="1 pair and no negatives"):
            loss(anchors[:1], positives[:1])
        with pytest.raises(InvalidValueError, match="needs \\(batch, dimensions\\)"):
            loss(anchors[0], positives[0])
        with pytest.raises(InvalidTypeError, match="floating"):
            loss(anchors.long(), positives.long())
        anchors[2, 1] = float("inf")
        with pytest.raises(InvalidValueError, match="anchors: row 2 holds NaN or infinity"):
            loss(anchors, positives)
