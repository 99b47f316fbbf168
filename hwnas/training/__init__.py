"""Training: image data in three parts, supernets, and the evaluation of what was trained."""

from hwnas.training.data import DATASETS, ImageData, Part, load_data, split_dataset
from hwnas.training.evaluate import accuracy, predict_logits, recalibrate_batch_norm
from hwnas.training.finetune import finetune
from hwnas.training.supernet import SupernetTraining, TrainingSettings, train_supernet

__all__ = [
    "DATASETS",
    "ImageData",
    "Part",
    "SupernetTraining",
    "TrainingSettings",
    "accuracy",
    "finetune",
    "load_data",
    "predict_logits",
    "recalibrate_batch_norm",
    "split_dataset",
    "train_supernet",
]
