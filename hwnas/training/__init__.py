"""Training: image data in three parts, supernets and plain networks, and the evaluation of what was trained."""

from hwnas.training.checkpoint import training_identity
from hwnas.training.conversion import ConvertedEvaluator
from hwnas.training.data import ImageData, Part, split_dataset
from hwnas.training.distributed import is_first_process, launched, own_device
from hwnas.training.engine import Training
from hwnas.training.evaluate import SubnetEvaluator, accuracy, predict_logits, recalibrate_batch_norm
from hwnas.training.inheritance import NetworkEvaluator
from hwnas.training.methods import METHODS, TrainingMethod, find_method, make_method, weighs_latency
from hwnas.training.network import check_network_training, train_network
from hwnas.training.settings import TrainingSettings
from hwnas.training.sources import DATASETS, load_data
from hwnas.training.supernet import check_trainable, load_supernet, supernet_training, train_supernet

__all__ = [
    "DATASETS",
    "METHODS",
    "ConvertedEvaluator",
    "ImageData",
    "NetworkEvaluator",
    "Part",
    "SubnetEvaluator",
    "Training",
    "TrainingMethod",
    "TrainingSettings",
    "accuracy",
    "check_network_training",
    "check_trainable",
    "find_method",
    "is_first_process",
    "launched",
    "load_data",
    "load_supernet",
    "make_method",
    "own_device",
    "predict_logits",
    "recalibrate_batch_norm",
    "split_dataset",
    "supernet_training",
    "train_network",
    "train_supernet",
    "training_identity",
    "weighs_latency",
]
