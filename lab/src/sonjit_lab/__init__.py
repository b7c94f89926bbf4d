"""The laboratory of Sonjit: networks, data sets, metrics, training, evaluation, synthetic hands and meshes."""

from sonjit._util.extras import EXTRAS

EXTRAS.update(
    {
        "sonjit-lab[synth]": ("moderngl",),
        "sonjit-lab[tflite]": ("litert_torch",),
        "sonjit-lab[tensorboard]": ("tensorboard",),
        "sonjit-lab[grad-cam]": ("pytorch_grad_cam",),
    }
)
