"""Plain torch modules: fixed layers, and elastic ones that hold many fixed layers in shared weights."""

from hwnas.layers.bottleneck import Bottleneck, LinearClassifier, MaxPool, ResidualConv
from hwnas.layers.cell_ops import (
    AveragePool,
    Cell,
    NormClassifier,
    ReLUConvBN,
    ResidualReduction,
    Skip,
    Zero,
)
from hwnas.layers.choice import Choice
from hwnas.layers.conv_block import ConvBlock, ElasticConvBlock, SeparableConv
from hwnas.layers.elastic import (
    Elastic,
    ElasticClassifier,
    ElasticConvBNAct,
    ElasticInput,
    ElasticMBConv,
    Fixed,
    Sortable,
)
from hwnas.layers.elastic_bottleneck import ElasticBottleneck, ElasticLinearClassifier, ElasticResidualConv
from hwnas.layers.elastic_transformer import ElasticPatchEmbed, ElasticTransformerBlock, ElasticTransformerHead
from hwnas.layers.grouped_mbconv import GroupedMBConv
from hwnas.layers.mbconv import ACTIVATIONS, Classifier, ConvBNAct, MBConv, SqueezeExcite
from hwnas.layers.morphisms import make_identity, morph, settle_batch_norms
from hwnas.layers.norm import BatchNorm2d, synchronize
from hwnas.layers.pooled_classifier import PooledClassifier
from hwnas.layers.resize import Resize
from hwnas.layers.transformer import PatchEmbed, TransformerBlock, TransformerHead, set_drop_path

__all__ = [
    "ACTIVATIONS",
    "AveragePool",
    "BatchNorm2d",
    "Bottleneck",
    "Cell",
    "Choice",
    "Classifier",
    "ConvBNAct",
    "ConvBlock",
    "Elastic",
    "ElasticBottleneck",
    "ElasticClassifier",
    "ElasticConvBNAct",
    "ElasticConvBlock",
    "ElasticInput",
    "ElasticLinearClassifier",
    "ElasticMBConv",
    "ElasticPatchEmbed",
    "ElasticResidualConv",
    "ElasticTransformerBlock",
    "ElasticTransformerHead",
    "Fixed",
    "GroupedMBConv",
    "LinearClassifier",
    "MBConv",
    "MaxPool",
    "NormClassifier",
    "PatchEmbed",
    "PooledClassifier",
    "ReLUConvBN",
    "ResidualConv",
    "ResidualReduction",
    "Resize",
    "SeparableConv",
    "Skip",
    "Sortable",
    "SqueezeExcite",
    "TransformerBlock",
    "TransformerHead",
    "Zero",
    "make_identity",
    "morph",
    "set_drop_path",
    "settle_batch_norms",
    "synchronize",
]
