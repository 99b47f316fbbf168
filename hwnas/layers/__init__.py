"""Plain torch modules: fixed layers, and elastic ones that hold many fixed layers in shared weights."""

from hwnas.layers.elastic import Elastic, ElasticMBConv, Fixed
from hwnas.layers.mbconv import ACTIVATIONS, Classifier, ConvBNAct, MBConv, SqueezeExcite

__all__ = ["ACTIVATIONS", "Classifier", "ConvBNAct", "Elastic", "ElasticMBConv", "Fixed", "MBConv", "SqueezeExcite"]
