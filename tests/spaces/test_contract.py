"""The contract over the built-in spaces and a tiny one."""

from typing import ClassVar

import pytest

from hwnas.spaces import (
    ConvNet,
    FBNet,
    MobileNetV3,
    NASBench201,
    NASBenchMacro,
    ResNet,
    SearchSpace,
    VisionTransformer,
)
from hwnas.testing.space_contract import SpaceContract
from hwnas.testing.toy_space import ToySpace


class TestToySpace(SpaceContract):
    num_architectures: ClassVar = 40

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return ToySpace()


class TestMobileNetV3OfDigits(SpaceContract):
    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return MobileNetV3((1, 8, 8), 10, width_mult=0.25)


class TestMobileNetV3OfCifar(SpaceContract):
    num_architectures: ClassVar = 20
    num_networks: ClassVar = 2

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return MobileNetV3((3, 32, 32), 10, width_mult=0.5)


class TestMobileNetV3OfOddSizes(SpaceContract):
    """Where strides leave few pixels, all kernel sizes still differ."""

    num_architectures: ClassVar = 20
    num_networks: ClassVar = 2

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return MobileNetV3((3, 33, 47), 10, width_mult=0.1)


class TestMobileNetV3OfImageNet(SpaceContract):
    num_architectures: ClassVar = 8
    num_exports: ClassVar = 3
    with_weights: ClassVar = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return MobileNetV3((3, 224, 224), 1000)


class TestNASBenchMacro(SpaceContract):
    num_architectures: ClassVar = 40

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return NASBenchMacro((3, 8, 8), 10)


class TestNASBench201OfDigits(SpaceContract):
    num_architectures: ClassVar = 40

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return NASBench201((1, 8, 8), 10, cells=1, channels=4)


class TestNASBench201(SpaceContract):
    num_architectures: ClassVar = 8
    num_networks: ClassVar = 2
    num_exports: ClassVar = 8

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return NASBench201((3, 16, 16), 120, cells=2, channels=8)


class TestFBNetOfDigits(SpaceContract):
    num_architectures: ClassVar = 40
    num_networks: ClassVar = 2

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return FBNet((1, 8, 8), 10, width_mult=0.25)


class TestFBNetOfImageNet(SpaceContract):
    num_architectures: ClassVar = 8
    num_exports: ClassVar = 3
    with_weights: ClassVar = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return FBNet((3, 224, 224), 1000)


class TestVisionTransformerOfDigits(SpaceContract):
    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return VisionTransformer((1, 8, 8), 10, embed_dim=48, depth=4, num_heads=3, head_dim=16)


class TestVisionTransformerOfCifar(SpaceContract):
    num_architectures: ClassVar = 20
    num_networks: ClassVar = 2

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return VisionTransformer((3, 32, 32), 10, embed_dim=96, depth=5, head_dim=32)


class TestVisionTransformerOfImageNet(SpaceContract):
    num_architectures: ClassVar = 8
    num_exports: ClassVar = 3
    with_weights: ClassVar = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return VisionTransformer((3, 224, 224), 1000)


class TestMobileNetV3OfWidthsAndResolutions(SpaceContract):
    num_architectures: ClassVar = 40

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return MobileNetV3((1, 8, 12), 10, width_mult=[0.1, 0.5], resolution=[6, 7])


class TestResNetOfDigits(SpaceContract):
    num_architectures: ClassVar = 40

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return ResNet((1, 8, 8), 10, width_mult=[0.05, 0.1], expand_ratio=[0.5, 1.5], resolution=[6, 8])


class TestResNetOfImageNet(SpaceContract):
    num_architectures: ClassVar = 8
    num_exports: ClassVar = 3
    with_weights: ClassVar = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return ResNet((3, 224, 224), 1000)


class TestConvNetOfDigits(SpaceContract):
    num_architectures: ClassVar = 40

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return ConvNet((1, 8, 8), 10, width_mult=[0.25, 0.5])


class TestConvNetOfImageNet(SpaceContract):
    num_architectures: ClassVar = 8
    num_exports: ClassVar = 3
    with_weights: ClassVar = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return ConvNet((3, 224, 224), 1000)
