"""The laboratory of Sonjit: networks, data sets, metrics, training, evaluation, synthetic hands and meshes."""

from sonjit._util.extras import EXTRAS, Extra

EXTRAS.update(
    {
        "sonjit-lab[synth]": Extra("synthetic images", ("moderngl",)),
        "sonjit-lab[tflite]": Extra("exports to TFLite", ("litert_torch",)),
        "sonjit-lab[tensorboard]": Extra("training curves in TensorBoard", ("tensorboard",)),
        "sonjit-lab[grad-cam]": Extra("comparison with grad-cam", ("pytorch_grad_cam",)),
    }
)
