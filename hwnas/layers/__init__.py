"""Plain torch modules: fixed layers, and elastic ones that hold many fixed layers in shared weights."""

from hwnas.layers.bottleneck import Bottleneck, LinearClassifier, MaxPool, ResidualConv
from hwnas.layers.choice import Choice
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
from hwnas.layers.mbconv import ACTIVATIONS, Classifier, ConvBNAct, MBConv, SqueezeExcite
from hwnas.layers.norm import BatchNorm2d, synchronize
from hwnas.layers.resize import Resize

__all__ = [
    "ACTIVATIONS",
    "BatchNorm2d",
    "Bottleneck",
    "Choice",
    "Classifier",
    "ConvBNAct",
    "Elastic",
    "ElasticBottleneck",
    "ElasticClassifier",
    "ElasticConvBNAct",
    "ElasticInput",
    "ElasticLinearClassifier",
    "ElasticMBConv",
    "ElasticResidualConv",
    "Fixed",
    "LinearClassifier",
    "MBConv",
    "MaxPool",
    "ResidualConv",
    "Resize",
    "Sortable",
    "SqueezeExcite",
    "synchronize",
]
