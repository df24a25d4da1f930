import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train import GuidedContrastiveLoss, InfoNCE, MatryoshkaLoss, false_negatives
from polyvec.train.objectives.candidates import BLOCKS

ROWS, DIM, GUIDE = 7, 5, 4


def draws(seed: int = 0, each: int | None = None) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Embeddings and guide vectors of anchors, positives and, with `each`, negatives."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"anchors": (ROWS,), "positives": (ROWS,), **({"negatives": (ROWS, each)} if each else {})}
    student, guide = (
        {name: torch.randn(*lead, width, generator=generator, dtype=torch.float64) for name, lead in shapes.items()}
        for width in (DIM, GUIDE)
    )
    return student, {f"guide_{name}": value for name, value in guide.items()}


def unit(value: torch.Tensor) -> torch.Tensor:
    return value / value.norm(dim=-1, keepdim=True)


def by_hand(student, guide, temperature, margin=0.0, mode="absolute", blocks=BLOCKS) -> tuple[float, dict[str, int]]:
    """Loops over anchors and candidates; loss, and how many candidates the guide takes out of each block."""
    sides = {name[:1]: unit(value).reshape(-1, DIM) for name, value in student.items()}
    guides = {name[6]: unit(value).reshape(-1, GUIDE) for name, value in guide.items()}
    pairs = {"qp": "ap", "qq": "aa", "pp": "pp", "qn": "an"}
    total, taken = 0.0, dict.fromkeys(blocks, 0)
    for i in range(ROWS):
        own = float(guides["a"][i] @ guides["p"][i])
        cut = own - margin if mode == "absolute" else own - margin * abs(own)
        left = [float(sides["a"][i] @ sides["p"][i])]
        for block in blocks:
            first, second = pairs[block]
            if second not in sides:
                continue
            for j in range(len(sides[second])):
                if block != "qn" and i == j:
                    continue
                if float(guides[first][i] @ guides[second][j]) > cut:
                    taken[block] += 1
                else:
                    left.append(float(sides[first][i] @ sides[second][j]))
        scores = torch.tensor(left, dtype=torch.float64) / temperature
        total += (torch.logsumexp(scores, 0) - scores[0]).item()
    return total / ROWS, taken


@pytest.mark.parametrize("each", [None, 1, 3])
@pytest.mark.parametrize(("margin", "mode"), [(0.0, "absolute"), (0.2, "absolute"), (0.3, "relative")])
def test_equals_loops_over_candidates(each, margin, mode):
    student, guide = draws(each=each)
    loss = GuidedContrastiveLoss(0.1, margin=margin, margin_mode=mode)
    expected, taken = by_hand(student, guide, 0.1, margin, mode)
    assert loss(**student, **guide).item() == pytest.approx(expected)
    assert {block: round(mean * ROWS) for block, mean in loss.last_masked.items()} == {
        block: count for block, count in taken.items() if each or block != "qn"
    }
    candidates = 3 * ROWS * (ROWS - 1) + ROWS * ROWS * (each or 0)
    assert loss.last_mask_rate == pytest.approx(sum(taken.values()) / candidates)
    assert 0 < loss.last_mask_rate < 1


@pytest.mark.parametrize("each", [None, 1])
@pytest.mark.parametrize(("margin", "mode"), [(0.0, "absolute"), (0.1, "absolute"), (0.2, "relative")])
@pytest.mark.parametrize("with_own_sides", [True, False])
def test_equals_sentence_transformers(each, margin, mode, with_own_sides, monkeypatch):
    """The library's loss with its two models replaced by lists of vectors."""
    from sentence_transformers.sentence_transformer.losses import gist_embed

    student, guide = draws(seed=3, each=each)
    parts = {"student": student, "guide": guide}

    def embed(model, _features):
        return [value.reshape(ROWS, -1) for value in parts[model].values()]

    peer = gist_embed.GISTEmbedLoss.__new__(gist_embed.GISTEmbedLoss)
    torch.nn.Module.__init__(peer)
    peer.__dict__.update(
        model="student", guide="guide", temperature=0.05, margin_strategy=mode, margin=margin, must_retokenize=False,
        contrast_anchors=with_own_sides, contrast_positives=with_own_sides, gather_across_devices=False,
    )  # fmt: skip
    peer.similarity_fct = torch.nn.CosineSimilarity(dim=-1)
    peer.cross_entropy_loss = torch.nn.CrossEntropyLoss()
    monkeypatch.setattr(gist_embed, "embed_columns", embed)
    expected = peer([{}, {}], None)
    blocks = BLOCKS if with_own_sides else ("qp", "qn")
    loss = GuidedContrastiveLoss(0.05, margin=margin, margin_mode=mode, blocks=blocks)
    assert loss(**student, **guide).item() == pytest.approx(expected.item(), rel=1e-9)


def test_without_a_guide_it_is_info_nce_with_all_blocks():
    student, _ = draws(each=2)
    loss = GuidedContrastiveLoss(0.05)
    expected = InfoNCE(0.05, blocks=BLOCKS)(*student.values())
    assert loss(**student).item() == expected.item()
    assert loss.last_mask_rate == 0.0
    assert loss.last_masked == {}
    assert loss.last_silent_anchors == 0


def test_a_guide_that_objects_to_nothing_changes_nothing():
    student, _ = draws()
    guide = torch.eye(ROWS, dtype=torch.float64)
    loss = GuidedContrastiveLoss(0.05)
    guided = loss(**student, guide_anchors=guide, guide_positives=guide)
    assert guided.item() == pytest.approx(loss(**student).item(), abs=1e-12)
    loss(**student, guide_anchors=guide, guide_positives=guide)
    assert loss.last_mask_rate == 0.0


THREE_ANCHORS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
THREE_POSITIVES = torch.tensor([[0.6, 0.0, 0.8], [0.7, 0.8, 0.0], [0.0, 0.0, 1.0]])  # 1 is closer to anchor 0 than 0 is


def test_three_pairs_with_one_false_negative():
    """Positive 1 is a match of anchor 0: the loss of row 0 is over two columns."""
    anchors, positives = (value[:3].clone().requires_grad_() for value in draws()[0].values())
    loss = GuidedContrastiveLoss(0.1, blocks=("qp",))
    value = loss(anchors, positives, guide_anchors=THREE_ANCHORS, guide_positives=THREE_POSITIVES)
    assert loss.last_masked == {"qp": pytest.approx(1 / 3)}
    scores = unit(anchors) @ unit(positives).T / 0.1
    left = [(0, [0, 2]), (1, [0, 1, 2]), (2, [0, 1, 2])]
    rows = [torch.logsumexp(scores[i, columns], 0) - scores[i, i] for i, columns in left]
    assert value.item() == pytest.approx(sum(rows).item() / 3, abs=1e-6)
    (gradient,) = torch.autograd.grad(value, anchors, retain_graph=True)
    (own,) = torch.autograd.grad(rows[0] / 3, anchors, retain_graph=True)
    assert torch.allclose(gradient[0], own[0], atol=1e-9)  # anchor 0 does not see positive 1 at all
    (of_positives,) = torch.autograd.grad(value, positives, retain_graph=True)
    (others,) = torch.autograd.grad((rows[1] + rows[2]) / 3, positives)
    assert torch.allclose(of_positives[1], others[1], atol=1e-9)


def test_no_gradient_reaches_a_candidate_that_is_taken_out_of_every_row():
    anchors, positives = draws()[0].values()
    negatives = torch.randn(ROWS, DIM, dtype=torch.float64, requires_grad=True)
    guide = torch.eye(ROWS, dtype=torch.float64)
    guide_negatives = guide.clone()
    guide_negatives[2] = 1.0  # cosine 0.38 to every anchor, where the positives have 0.1
    loss = GuidedContrastiveLoss(blocks=("qp", "qn"))
    guides = {"guide_positives": guide * 0.1 + guide.roll(1, 1), "guide_negatives": guide_negatives}
    value = loss(anchors, positives, negatives, guide_anchors=guide, **guides)
    (gradient,) = torch.autograd.grad(value, negatives)
    assert gradient[2].abs().max() == 0
    assert gradient.abs().sum() > 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_guided_by_itself_no_candidate_above_the_positive_survives(seed):
    student, _ = draws(seed)
    masks = false_negatives(student["anchors"], student["positives"])
    anchors, positives = unit(student["anchors"]), unit(student["positives"])
    own = (anchors * positives).sum(1, keepdim=True)
    for block, scores in (("qp", anchors @ positives.T), ("qq", anchors @ anchors.T), ("pp", positives @ positives.T)):
        survives = ~masks[block]
        survives.fill_diagonal_(False)
        assert (scores <= own + 1e-12)[survives].all()
    assert not masks["qp"].diagonal().any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_lengths_and_order_do_not_matter(seed, scale):
    student, guide = draws(seed, each=2)
    loss = GuidedContrastiveLoss(0.05)
    expected = loss(**student, **guide).item()
    longer = {name: value * scale for name, value in student.items()}
    longer_guide = {name: value / scale for name, value in guide.items()}
    assert loss(**longer, **longer_guide).item() == pytest.approx(expected, rel=1e-6)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed))
    turned = {name: value[order] for name, value in (student | guide).items()}
    assert loss(**turned).item() == pytest.approx(expected, rel=1e-6)


def test_a_larger_margin_takes_out_more():
    student, guide = draws()
    rates = []
    for margin in (0.0, 0.3, 1.0, 2.0):
        loss = GuidedContrastiveLoss(margin=margin)
        loss(**student, **guide)
        rates.append(loss.last_mask_rate)
    assert rates == sorted(rates)
    assert rates[0] < rates[1] < rates[-1]
    assert rates[-1] == 1.0


def test_a_relative_margin_lowers_a_negative_threshold_too():
    guide_anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    guide_positives = torch.tensor([[-0.6, 0.8], [-0.8, 0.6]])  # anchor 0: own -0.6, the other -0.8
    for margin, taken in ((0.0, False), (0.2, False), (0.5, True)):
        masks = false_negatives(guide_anchors, guide_positives, margin=margin, margin_mode="relative")
        assert bool(masks["qp"][0, 1]) is taken


def test_duplicates_are_no_candidates():
    student, guide = draws(each=1)
    guide_anchors, guide_positives = guide["guide_anchors"], guide["guide_positives"]
    guide_positives[3] = guide_positives[5]  # one text twice among the positives
    guide_anchors[0] = guide_positives[0]  # anchor 0 is its own positive: nothing is strictly closer
    guide_positives[6] = guide_positives[0]
    guide["guide_negatives"][2, 0] = 7 * guide_positives[4]  # a negative that is positive 4
    masks = false_negatives(**guide)
    for block in ("qp", "qq", "pp"):
        for pair in ((3, 5), (5, 3), (0, 6), (6, 0)):
            assert masks[block][pair]
    assert masks["qn"][4, 2]
    assert not masks["qp"].diagonal().any()
    assert torch.isfinite(GuidedContrastiveLoss()(**student, **guide))


def test_an_anchor_identical_to_its_positive_gives_a_finite_loss():
    student, guide = draws()
    student["positives"] = student["anchors"].clone().requires_grad_()
    guide["guide_positives"] = guide["guide_anchors"].clone()
    loss = GuidedContrastiveLoss()
    value = loss(**student, **guide)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student["positives"].grad).all()
    assert loss.last_mask_rate == 0.0


def test_exclude_is_added_to_the_choice_of_the_guide():
    student, guide = draws(each=1)
    known = torch.zeros(ROWS, ROWS, dtype=torch.bool)
    known[0, 1] = known[1, 0] = True
    loss = GuidedContrastiveLoss(0.1)
    masks = false_negatives(**guide)
    joined = {block: mask | known if block != "qn" else mask for block, mask in masks.items()}
    expected = InfoNCE(0.1, blocks=BLOCKS)(*student.values(), exclude=joined).item()
    assert loss(**student, **guide, exclude=known).item() == pytest.approx(expected)
    assert loss(**student, **guide, exclude={"qp": known, "qq": known, "pp": known}).item() == pytest.approx(expected)
    assert loss(**student, **guide).item() != pytest.approx(expected)


def test_matryoshka_goes_around_it_and_leaves_the_guide_whole():
    student, guide = draws()
    loss = MatryoshkaLoss(GuidedContrastiveLoss(0.1), sizes=[2, DIM])
    parts = [GuidedContrastiveLoss(0.1)(*(v[:, :size] for v in student.values()), **guide).item() for size in (2, DIM)]
    assert loss(*student.values(), **guide).item() == pytest.approx(sum(parts))


def test_scores_of_the_guide_are_compared_in_float32_under_autocast():
    guide_anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    guide_positives = torch.tensor([[1.0, 0.1], [1.0, 0.0998]])  # the second is closer, in bfloat16 they are the same
    with torch.autocast("cpu", dtype=torch.bfloat16):
        masks = false_negatives(guide_anchors, guide_positives)
        tied = unit(guide_anchors) @ unit(guide_positives).T
    assert tied[0, 0] == tied[0, 1]
    assert masks["qp"][0, 1]


def test_pairs_that_teach_nothing_are_told_once(caplog):
    student, guide = draws()
    guide["guide_positives"] = -guide["guide_anchors"]  # the guide thinks little of every label
    loss = GuidedContrastiveLoss(blocks=("qp", "qq"))
    with caplog.at_level(logging.WARNING, logger="polyvec.train"):
        for _ in range(2):
            assert loss(**student, **guide).item() == pytest.approx(0.0)
    assert loss.last_silent_anchors == ROWS
    assert loss.last_mask_rate == 1.0
    assert [record.getMessage()[:40] for record in caplog.records] == ["the guide leaves 7 of 7 anchors without "]


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    def test_sides_without_a_guide(self):
        student, guide = draws(each=2)
        loss = GuidedContrastiveLoss()
        for name in guide:
            rest = {key: value for key, value in guide.items() if key != name}
            with pytest.raises(InvalidValueError, match=f"{name}: got none, needs one vector a row"):
                loss(**student, **rest)
        with pytest.raises(InvalidValueError, match="guide_negatives: given, but there are no negatives"):
            loss(student["anchors"], student["positives"], **guide)

    def test_shapes_and_values(self):
        student, guide = draws()
        loss = GuidedContrastiveLoss()
        with pytest.raises(InvalidValueError, match="guide_positives: got \\(6,\\) rows, needs \\(7,\\)"):
            loss(**student, guide_anchors=guide["guide_anchors"], guide_positives=guide["guide_positives"][:6])
        with pytest.raises(InvalidValueError, match="guide_positives: got 3 dimensions, needs 4"):
            loss(**student, guide_anchors=guide["guide_anchors"], guide_positives=guide["guide_positives"][:, :3])
        with pytest.raises(InvalidValueError, match="guide_anchors: requires a gradient"):
            loss(**student, **{**guide, "guide_anchors": guide["guide_anchors"].requires_grad_()})
        broken = guide["guide_positives"].clone()
        broken[4, 1] = float("nan")
        with pytest.raises(InvalidValueError, match="guide_positives: row 4 holds NaN"):
            loss(**student, guide_anchors=guide["guide_anchors"].detach(), guide_positives=broken)
        with pytest.raises(InvalidValueError, match="at least 2"):
            loss(student["anchors"][:1], student["positives"][:1])
        own = torch.eye(ROWS, dtype=torch.bool)
        with pytest.raises(InvalidValueError, match="positive of row 0 is excluded"):
            loss(**student, exclude=own)

    def test_options(self):
        with pytest.raises(InvalidValueError, match=r"margin: got -0.1"):
            GuidedContrastiveLoss(margin=-0.1)
        with pytest.raises(InvalidTypeError, match="margin: got str"):
            GuidedContrastiveLoss(margin="0.1")
        with pytest.raises(InvalidValueError, match="margin_mode: got 'other'"):
            GuidedContrastiveLoss(margin_mode="other")
        with pytest.raises(InvalidValueError, match="blocks: got 'nq'"):
            GuidedContrastiveLoss(blocks=("qp", "nq"))
        with pytest.raises(InvalidValueError, match="temperature"):
            GuidedContrastiveLoss(0)
