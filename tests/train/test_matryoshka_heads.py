import pytest
import torch

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train import MatryoshkaLinear

SIZES = (2, 4, 8)


def test_one_head_a_size():
    heads, values = MatryoshkaLinear(SIZES, 3), torch.randn(5, 8)
    for size, head, logits in zip(SIZES, heads.heads, heads(values), strict=True):
        assert torch.allclose(logits, values[:, :size] @ head.weight.T + head.bias, atol=1e-6)
    assert len({parameter.data_ptr() for parameter in heads.parameters()}) == 6


def test_efficient_form_shares_columns_of_one_weight_and_one_bias():
    heads, values = MatryoshkaLinear(SIZES, 3, efficient=True), torch.randn(5, 8)
    parameters = dict(heads.named_parameters())
    assert {tuple(parameter.shape) for parameter in parameters.values()} == {(3, 8), (3,)}
    weight, bias = parameters["heads.0.weight"], parameters["heads.0.bias"]
    for size, logits in zip(SIZES, heads(values), strict=True):
        assert torch.allclose(logits, values[:, :size] @ weight[:, :size].T + bias, atol=1e-6)
    sum(logits.sum() for logits in heads(values)).backward()
    # each size adds the batch to the gradient of the bias; a column gets gradient from every size that holds it
    assert torch.allclose(bias.grad, torch.full((3,), 15.0))
    reach = torch.tensor([3.0, 3, 2, 2, 1, 1, 1, 1])
    assert torch.allclose(weight.grad, (values.sum(0) * reach).expand(3, 8), atol=1e-5)


@pytest.mark.parametrize("efficient", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_at_is_a_plain_copy(efficient, bias):
    heads, values = MatryoshkaLinear(SIZES, 3, efficient, bias).double(), torch.randn(5, 8).double()
    before = heads(values)
    layers = [heads.at(size) for size in SIZES]
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.zero_()
    for size, layer, logits in zip(SIZES, layers, before, strict=True):
        assert isinstance(layer, torch.nn.Linear)
        assert (layer.in_features, layer.out_features, layer.bias is not None) == (size, 3, bias)
        assert torch.allclose(layer(values[:, :size]), logits)
        assert all(parameter.requires_grad for parameter in layer.parameters())


@pytest.mark.parametrize("efficient", [False, True])
def test_save_and_load(efficient, tmp_path):
    from safetensors.torch import load_file, save_file

    heads, values = MatryoshkaLinear(SIZES, 3, efficient), torch.randn(5, 8)
    save_file(heads.state_dict(), tmp_path / "heads.safetensors")
    other = MatryoshkaLinear(SIZES, 3, efficient)
    other.load_state_dict(load_file(tmp_path / "heads.safetensors"))
    for one, two in zip(heads(values), other(values), strict=True):
        assert torch.equal(one, two)


@pytest.mark.usefixtures("own_messages")
def test_bad_input():
    with pytest.raises(InvalidValueError, match="increasing"):
        MatryoshkaLinear([4, 2], 3)
    with pytest.raises(InvalidValueError, match="out_features"):
        MatryoshkaLinear(SIZES, 0)
    with pytest.raises(InvalidValueError, match="got 3, needs one of"):
        MatryoshkaLinear(SIZES, 3).at(3)
    with pytest.raises(InvalidValueError, match="got 9 dimensions, needs 8"):
        MatryoshkaLinear(SIZES, 3)(torch.randn(5, 9))
    with pytest.raises(InvalidTypeError, match="floating"):
        MatryoshkaLinear(SIZES, 3)(torch.ones(5, 8, dtype=torch.int64))
