"""Plain torch modules: fixed layers, and elastic ones that hold many fixed layers in shared weights."""

from hwnas.layers.choice import Choice
from hwnas.layers.elastic import Elastic, ElasticMBConv, Fixed, Sortable
from hwnas.layers.elastic_transformer import ElasticPatchEmbed, ElasticTransformerBlock, ElasticTransformerHead
from hwnas.layers.grouped_mbconv import GroupedMBConv
from hwnas.layers.mbconv import ACTIVATIONS, Classifier, ConvBNAct, MBConv, SqueezeExcite
from hwnas.layers.norm import BatchNorm2d, synchronize
from hwnas.layers.pooled_classifier import PooledClassifier
from hwnas.layers.transformer import PatchEmbed, TransformerBlock, TransformerHead, set_drop_path

__all__ = [
    "ACTIVATIONS",
    "BatchNorm2d",
    "Choice",
    "Classifier",
    "ConvBNAct",
    "Elastic",
    "ElasticMBConv",
    "ElasticPatchEmbed",
    "ElasticTransformerBlock",
    "ElasticTransformerHead",
    "Fixed",
    "GroupedMBConv",
    "MBConv",
    "PatchEmbed",
    "PooledClassifier",
    "Sortable",
    "SqueezeExcite",
    "TransformerBlock",
    "TransformerHead",
    "set_drop_path",
    "synchronize",
]
