"""Training: image data in three parts, supernets, and the evaluation of what was trained."""

from hwnas.training.data import ImageData, Part, split_dataset
from hwnas.training.evaluate import SubnetEvaluator, accuracy, predict_logits, recalibrate_batch_norm
from hwnas.training.finetune import finetune
from hwnas.training.sources import DATASETS, load_data
from hwnas.training.supernet import SupernetTraining, TrainingSettings, best_device, load_supernet, train_supernet

__all__ = [
    "DATASETS",
    "ImageData",
    "Part",
    "SubnetEvaluator",
    "SupernetTraining",
    "TrainingSettings",
    "accuracy",
    "best_device",
    "finetune",
    "load_data",
    "load_supernet",
    "predict_logits",
    "recalibrate_batch_norm",
    "split_dataset",
    "train_supernet",
]
