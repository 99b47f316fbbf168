"""Classifies an image by a model with its preprocessing inside; needs numpy and onnxruntime alone.

Usage: python classify.py RUN/models/winner-1/int8-image.onnx photo.ppm
"""

import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime

SHOWN = 3


def read_image(path):
    """The bytes (H, W, C) of a binary PGM (one channel) or PPM (three)."""
    content = Path(path).read_bytes()
    header = re.match(rb"P([56])\s+(?:#.*\n)?(\d+)\s+(\d+)\s+255\s", content)
    if header is None:
        raise SystemExit(f"{path} must be a binary PGM or PPM of 8 bits: magick photo.jpg photo.ppm")
    kind, width, height = map(int, header.groups())
    return np.frombuffer(content, np.uint8, offset=header.end()).reshape(height, width, 3 if kind == 6 else 1)


def main(model, image):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    labels = session.get_modelmeta().custom_metadata_map["labels"].split("\n")
    image_HWC = read_image(image)
    channels = session.get_inputs()[0].shape[3]
    if image_HWC.shape[2] != channels:
        raise SystemExit(f"{image} must have {channels} channels, but it has {image_HWC.shape[2]}")
    probabilities = session.run(["probabilities"], {"image": image_HWC[None]})[0][0]
    for place in probabilities.argsort()[::-1][:SHOWN]:
        print(f"{probabilities[place]:.6f} {labels[place]}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
