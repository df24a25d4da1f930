import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train import MatryoshkaLoss, TripletLoss, mine_triplets


def draws(seed: int, rows: int = 9, classes: int = 3, dim: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat(
        [
            torch.arange(classes),
            torch.arange(classes),
            torch.randint(classes, (rows - 2 * classes,), generator=generator),
        ]
    )
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64), labels


def unit(value: torch.Tensor) -> torch.Tensor:
    return value / value.norm(dim=1, keepdim=True)


def by_hand(distances, labels, others, margin, mining, own_side) -> list[tuple[int, int, int]]:
    """Loops over anchors, positives and negatives."""
    result = []
    for a in range(len(labels)):
        for p in range(len(others)):
            if labels[a] != others[p] or (own_side and a == p):
                continue
            negatives = [n for n in range(len(others)) if others[n] != labels[a]]
            near = float(distances[a, p])
            if mining == "semihard":
                negatives = [n for n in negatives if near < float(distances[a, n]) < near + margin]
            if mining != "all":
                negatives = sorted(negatives, key=lambda n: float(distances[a, n]))[:1]
            result += [(a, p, n) for n in negatives]
    return result


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999), mining=st.sampled_from(["semihard", "hard", "all"]), margin=st.sampled_from([0.2, 1.0]),
    with_references=st.booleans(), squared=st.booleans(),
)  # fmt: skip
def test_equals_loops(seed, mining, margin, with_references, squared):
    embeddings, labels = draws(seed)
    references, others = draws(seed + 1, rows=7) if with_references else (embeddings, labels)
    distances = torch.cdist(unit(embeddings), unit(references)).pow(2 if squared else 1)
    expected = by_hand(distances, labels, others, margin, mining, not with_references)
    given_labels = others if with_references else None
    mined = mine_triplets(distances, labels, given_labels, margin=margin, mining=mining)
    assert list(zip(*(part.tolist() for part in mined), strict=True)) == expected
    terms = [float(distances[a, p] - distances[a, n]) + margin for a, p, n in expected]
    active = [term for term in terms if term > 0]
    loss = TripletLoss(margin, mining, squared=squared)
    extra = (references, others) if with_references else ()
    value = loss(embeddings, labels, *extra).item()
    assert value == pytest.approx(sum(active) / max(1, len(active)), rel=1e-5, abs=1e-9)
    assert loss.last_active_share == pytest.approx(len(active) / max(1, len(terms)))
    if mining == "semihard":
        assert len(active) == len(terms)


def test_blocks_do_not_matter(monkeypatch):
    embeddings, labels = draws(3, rows=20)
    distances = torch.cdist(embeddings, embeddings)
    whole = {mining: mine_triplets(distances, labels, mining=mining) for mining in ("semihard", "hard", "all")}
    monkeypatch.setattr("polyvec.train.objectives.triplet._BLOCK", 3 * 20)
    for mining, expected in whole.items():
        for part, other in zip(mine_triplets(distances, labels, mining=mining), expected, strict=True):
            assert torch.equal(part, other)


def test_random_negatives_follow_the_seed_and_reach_all():
    embeddings, labels = draws(0, rows=12)
    values = [TripletLoss(mining="random", seed=seed)(embeddings, labels).item() for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]
    generator = torch.Generator().manual_seed(0)
    drawn = {
        triplet
        for _ in range(200)
        for triplet in zip(
            *(part.tolist() for part in mine_triplets(
                torch.zeros(12, 12), labels, mining="random", generator=generator
            )), strict=True
        )
    }  # fmt: skip
    assert drawn == set(by_hand(torch.zeros(12, 12), labels, labels, 0.2, "all", own_side=True))


@pytest.mark.parametrize("mining", ["semihard", "hard", "all"])
@pytest.mark.parametrize("squared", [True, False])
def test_gradient_agrees_with_differences(mining, squared):
    embeddings, labels = draws(5)
    loss = TripletLoss(0.5, mining, squared=squared)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, labels), embeddings.requires_grad_(), fast_mode=True)


def test_one_point_costs_exactly_the_margin():
    labels = torch.tensor([0, 0, 1, 1])
    collapsed = torch.ones(4, 3)
    assert TripletLoss(0.2, "hard")(collapsed, labels).item() == pytest.approx(0.2)
    loss = TripletLoss(0.2, "semihard")
    assert loss(collapsed, labels).item() == 0.0  # nothing is strictly farther than the positive
    assert loss.last_active_share == 0.0


def test_classes_that_are_far_apart_cost_nothing_and_have_a_gradient_of_zero():
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.01]], requires_grad=True)
    loss = TripletLoss(0.2, "all")
    value = loss(embeddings, torch.tensor([0, 0, 1, 1]))
    value.backward()
    assert value.item() == 0.0
    assert embeddings.grad.abs().max() == 0


def test_duplicates_and_roots_have_finite_gradients():
    embeddings = torch.ones(4, 3, requires_grad=True)
    TripletLoss(0.2, "hard", squared=False)(embeddings, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(embeddings.grad).all()


def test_old_vectors_as_references_get_no_say_in_the_mining_of_the_diagonal():
    """An item and its own vector of an older model are a positive pair."""
    embeddings, labels = draws(1, rows=6)
    anchors, positives, _ = mine_triplets(torch.cdist(embeddings, embeddings), labels, labels, mining="all")
    assert (anchors == positives).any()
    anchors, positives, _ = mine_triplets(torch.cdist(embeddings, embeddings), labels, mining="all")
    assert not (anchors == positives).any()


def test_matryoshka_goes_around_it():
    embeddings, labels = draws(2)
    loss = MatryoshkaLoss(TripletLoss(0.5, "hard"), sizes=[2, 4])
    expected = sum(TripletLoss(0.5, "hard")(embeddings[:, :size], labels).item() for size in (2, 4))
    assert loss(embeddings, labels).item() == pytest.approx(expected)


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    def test_labels(self):
        embeddings, labels = draws(0)
        loss = TripletLoss()
        with pytest.raises(InvalidValueError, match="all items are of one class among 9 anchors of 1 classes"):
            loss(embeddings, torch.zeros_like(labels))
        with pytest.raises(InvalidValueError, match="no item has another of its class among 9 anchors of 9 classes"):
            loss(embeddings, torch.arange(9))
        with pytest.raises(InvalidValueError, match=r"labels: got shape \(8,\), needs \(9,\)"):
            loss(embeddings, labels[:8])
        with pytest.raises(InvalidTypeError, match=r"labels: got torch\.float64"):
            loss(embeddings, labels.double())
        with pytest.raises(InvalidValueError, match="needs reference_labels"):
            loss(embeddings, labels, embeddings)
        embeddings[3, 1] = float("nan")
        with pytest.raises(InvalidValueError, match="embeddings: row 3 holds NaN"):
            loss(embeddings, labels)

    def test_options(self):
        with pytest.raises(InvalidValueError, match="margin: got 0"):
            TripletLoss(0)
        with pytest.raises(InvalidValueError, match="mining: got 'easy'"):
            TripletLoss(mining="easy")
        with pytest.raises(InvalidValueError, match="mining: got 'easy'"):
            mine_triplets(torch.zeros(2, 2), torch.tensor([0, 1]), mining="easy")
