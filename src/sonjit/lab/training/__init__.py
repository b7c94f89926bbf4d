"""Train networks with recipes.

* `recipes`: The TOML files of `sonjit train` and the code that reads, checks and runs them. A recipe of another package
  is a TOML file that names its function and its settings class.
* `settings`: Hyperparameters, optimizers, learning-rate schedules and initial weights.
* `loop`: The training loop that every recipe uses. `batches` prefetches its batches in worker processes.
* `run_folder` and `report`: The files of a run and its HTML report.
* `ablation`: Grids of runs, compared with a published table.
* `augment`, `losses`, `distributed`, `sequences`, `rows`, `export`: Building blocks for recipes.
* `int8`: Fine-tuning for 8-bit inference.
* `faces_and_bodies`: The recipes of face and body landmarks.
* `hands`: Palm detection, hand landmarks and the keypoint detector.
* `hands3d`: InterNet, RootNet, HandOccNet and Deformer.
* `hand_heads`: Visibility and handedness. `gestures`: Gesture and appearance classifiers.
* `images`: Image classification, Mask R-CNN and visual question answering.
"""
