import torch
from torch import nn

from hwnas.layers import PooledClassifier


def test_it_is_a_convolution_an_average_and_a_linear_layer(generator: torch.Generator) -> None:
    layer = PooledClassifier(4, num_classes=3, last_channels=8).eval()
    x_BCHW = torch.randn(2, 4, 5, 6, generator=generator)
    features_BC = nn.functional.relu(layer.conv.bn(layer.conv.conv(x_BCHW))).mean((2, 3))
    torch.testing.assert_close(layer(x_BCHW), features_BC @ layer.logits.weight.T + layer.logits.bias)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 4 * 8 + 2 * 8 + 8 * 3 + 3
