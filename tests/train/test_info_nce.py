import math

import pytest
import torch

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train import InfoNCE, same_group


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


def all_candidates(anchors, positives, negatives, blocks, left_out=None):
    """A loop over anchors: one list of scored candidates each, the own positive first."""
    left_out = left_out or {}
    total = 0.0
    for i in range(len(anchors)):
        rows = {
            "qp": [(j, anchors[i] @ positives[j]) for j in range(len(positives)) if j != i],
            "qq": [(j, anchors[i] @ anchors[j]) for j in range(len(anchors)) if j != i],
            "pp": [(j, positives[i] @ positives[j]) for j in range(len(positives)) if j != i],
            "qn": [(j, anchors[i] @ other) for j, other in enumerate(negatives)],
        }
        scores = [anchors[i] @ positives[i]]
        for block in blocks:
            scores += [score for j, score in rows[block] if not (block in left_out and left_out[block][i][j])]
        total += (torch.logsumexp(torch.stack(scores), 0) - scores[0]).item()
    return total / len(anchors)


def unit(value):
    return value / value.norm(dim=-1, keepdim=True)


class TestCandidates:
    @pytest.mark.parametrize("blocks", [("qp",), ("qp", "qq"), ("qp", "pp"), ("qp", "qq", "pp", "qn")])
    def test_blocks_equal_a_loop(self, blocks):
        anchors, positives, negatives = batch()
        given = negatives if "qn" in blocks else None
        expected = all_candidates(unit(anchors), unit(positives), unit(negatives), blocks)
        assert InfoNCE(1.0, blocks=blocks)(anchors, positives, given).item() == pytest.approx(expected)

    def test_several_negatives_an_anchor_are_candidates_of_all(self):
        anchors, positives, _ = batch()
        each = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        expected = all_candidates(unit(anchors), unit(positives), unit(each).reshape(18, 5), ("qp", "qn"))
        assert InfoNCE(1.0)(anchors, positives, each).item() == pytest.approx(expected)
        assert InfoNCE(1.0)(anchors, positives, each.flatten(0, 1)).item() == pytest.approx(expected)

    def test_without_in_batch_only_the_own_negatives_count(self):
        anchors, positives, _ = batch()
        each = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        own = [
            all_candidates(unit(anchors[i : i + 1]), unit(positives[i : i + 1]), unit(each[i]), ("qn",))
            for i in range(6)
        ]
        loss = InfoNCE(1.0, in_batch=False)
        assert loss(anchors, positives, each).item() == pytest.approx(sum(own) / 6)
        others = positives.clone()
        others[1:] = others[1:].flip(0)
        changed = loss(anchors, others, each)
        assert changed.item() != pytest.approx(loss(anchors, positives, each).item())
        first = torch.autograd.grad(loss(anchors, others.requires_grad_(), each), others)[0][0]
        same = positives.clone().requires_grad_()
        assert torch.allclose(first, torch.autograd.grad(loss(anchors, same, each), same)[0][0])

    def test_exclude_takes_candidates_out(self):
        anchors, positives, negatives = batch()
        matches = same_group(torch.tensor([0, 1, 0, 2, 1, 0]))
        blocks = ("qp", "qq", "pp", "qn")
        expected = all_candidates(
            unit(anchors), unit(positives), unit(negatives), blocks, dict.fromkeys(("qp", "qq", "pp"), matches)
        )
        loss = InfoNCE(1.0, blocks=blocks)
        assert loss(anchors, positives, negatives, exclude=matches).item() == pytest.approx(expected)
        masks = {"qp": matches, "qn": torch.rand(6, 6, generator=torch.Generator().manual_seed(3)) < 0.5}
        expected = all_candidates(unit(anchors), unit(positives), unit(negatives), blocks, masks)
        assert loss(anchors, positives, negatives, exclude=masks).item() == pytest.approx(expected)
        positives.requires_grad_()
        only = torch.zeros(6, 6, dtype=torch.bool)
        only[:, 4] = True
        only[4, 4] = False
        (gradient,) = torch.autograd.grad(InfoNCE(1.0)(anchors, positives, exclude=only), positives)
        alone = InfoNCE(1.0)(anchors[[4, 0, 1, 2, 3, 5]], positives[[4, 0, 1, 2, 3, 5]], exclude=None)
        assert gradient[4].abs().sum() > 0  # as the positive of row 4
        assert alone.item() != pytest.approx(InfoNCE(1.0)(anchors, positives, exclude=only).item())

    def test_symmetric_turns_the_masks(self):
        anchors, positives, _ = batch()
        one_way = torch.zeros(6, 6, dtype=torch.bool)
        one_way[0, 3] = one_way[5, 1] = True
        blocks = ("qp", "qq", "pp")
        there = all_candidates(unit(anchors), unit(positives), [], blocks, dict.fromkeys(blocks, one_way))
        back = all_candidates(unit(positives), unit(anchors), [], blocks, dict.fromkeys(blocks, one_way.T))
        loss = InfoNCE(1.0, symmetric=True, blocks=blocks)
        assert loss(anchors, positives, exclude=one_way).item() == pytest.approx((there + back) / 2)
        named = loss(anchors, positives, exclude={"qp": one_way, "qq": one_way, "pp": one_way})
        assert named.item() == pytest.approx((there + back) / 2)

    def test_the_order_of_the_batch_does_not_matter(self):
        anchors, positives, negatives = batch()
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        loss = InfoNCE(blocks=("qp", "qq", "pp", "qn"))
        expected = loss(anchors, positives, negatives).item()
        assert loss(anchors[order], positives[order], negatives[order]).item() == pytest.approx(expected)


class TestLearnedTemperature:
    def test_starts_equal_and_learns(self):
        anchors, positives, _ = batch()
        loss = InfoNCE(0.5, learn_temperature=True).double()
        assert [name for name, _ in loss.named_parameters()] == ["scale.log_scale"]
        assert loss(anchors, positives).item() == pytest.approx(InfoNCE(0.5)(anchors, positives).item())
        optimiser = torch.optim.SGD(loss.parameters(), lr=0.1)
        before, first = loss.temperature, loss(anchors, positives)
        first.backward()
        optimiser.step()
        assert loss.temperature != before
        assert loss(anchors, positives) < first

    def test_gradient_is_that_of_the_logarithm(self):
        anchors, positives, _ = batch()
        loss = InfoNCE(0.5, learn_temperature=True).double()
        loss(anchors, positives).backward()
        step = 1e-5
        up, down = (InfoNCE(0.5 * math.exp(-sign * step))(anchors, positives).item() for sign in (1, -1))
        assert loss.scale.log_scale.grad.item() == pytest.approx((up - down) / (2 * step), rel=1e-6)

    @pytest.mark.parametrize(("moved", "expected"), [(20.0, 0.01), (-20.0, 1.0)])
    def test_stays_within_its_bounds_and_can_come_back(self, moved, expected):
        anchors, positives, _ = batch()
        loss = InfoNCE(0.05, learn_temperature=True)
        with torch.no_grad():
            loss.scale.log_scale += moved
        value = loss(anchors.float(), positives.float())
        assert loss.temperature == pytest.approx(expected)
        value.backward()
        assert loss.scale.log_scale.grad.abs() > 0

    def test_survives_a_checkpoint(self):
        loss = InfoNCE(0.2, learn_temperature=True)
        other = InfoNCE(0.7, learn_temperature=True)
        other.load_state_dict(loss.state_dict())
        assert other.temperature == pytest.approx(0.2)
        assert InfoNCE(0.2).state_dict() == {}


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    def test_blocks(self):
        with pytest.raises(InvalidValueError, match="blocks: got 'nn'"):
            InfoNCE(blocks=("qp", "nn"))
        with pytest.raises(InvalidValueError, match="needs 'qp'"):
            InfoNCE(blocks=())
        with pytest.raises(InvalidValueError, match="each name once"):
            InfoNCE(blocks=("qp", "qp"))
        with pytest.raises(InvalidTypeError, match="needs names"):
            InfoNCE(blocks="qp")
        with pytest.raises(InvalidValueError, match="in_batch"):
            InfoNCE(in_batch=False, blocks=("qp", "qq"))

    def test_negatives(self):
        anchors, positives, negatives = batch()
        each = torch.randn(6, 2, 5, dtype=torch.float64)
        with pytest.raises(InvalidValueError, match="leaves out 'qn'"):
            InfoNCE(blocks=("qp",))(anchors, positives, negatives)
        with pytest.raises(InvalidValueError, match="got 5 rows of several, needs 6"):
            InfoNCE()(anchors, positives, each[:5])
        with pytest.raises(InvalidValueError, match="needs \\(batch, each, dimensions\\)"):
            InfoNCE(in_batch=False)(anchors, positives, negatives)
        with pytest.raises(InvalidValueError, match="in_batch=False has no others"):
            InfoNCE(in_batch=False)(anchors, positives)
        each[1, 1, 0] = float("nan")
        with pytest.raises(InvalidValueError, match="negatives: row 3 holds NaN"):
            InfoNCE()(anchors, positives, each)

    def test_exclude(self):
        anchors, positives, negatives = batch()
        own = torch.zeros(6, 6, dtype=torch.bool)
        own[5, 5] = True
        with pytest.raises(InvalidValueError, match="the positive of row 5 is excluded"):
            InfoNCE()(anchors, positives, exclude=own)
        with pytest.raises(InvalidValueError, match="got shape \\(5, 6\\)"):
            InfoNCE()(anchors, positives, exclude=own[:5])
        with pytest.raises(InvalidTypeError, match="boolean"):
            InfoNCE()(anchors, positives, exclude=own.float())
        with pytest.raises(InvalidValueError, match="blocks in use are"):
            InfoNCE()(anchors, positives, exclude={"qn": own})
        with pytest.raises(InvalidValueError, match="in_batch=False"):
            InfoNCE(in_batch=False)(anchors, positives, negatives[:, None], exclude=own)
        with pytest.raises(InvalidTypeError, match="integers"):
            same_group(torch.ones(3))

    def test_bounds_of_a_learned_temperature(self):
        with pytest.raises(InvalidValueError, match=r"temperature: got 5.0, needs 0.01 to 1.0"):
            InfoNCE(5.0, learn_temperature=True)

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
