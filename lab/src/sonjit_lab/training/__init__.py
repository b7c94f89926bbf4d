"""Train networks with recipes.

* `recipes`: The TOML files of `sonjit train` and the code that reads, checks and runs them. A recipe of another package
  is a TOML file that names its function and its settings class.
* `settings`: Hyperparameters, optimizers, learning-rate schedules and initial weights.
* `loop`: The training loop that every recipe uses. `batches` prefetches its batches.
* `run_folder` and `report`: The files of a run and its HTML report.
* `ablation`: Grids of runs, compared with a published table.
* `augment`, `losses`, `building_blocks`: Building blocks for recipes.
* `faces_and_bodies`, `hands` (palms, landmarks, masks, keypoint detector, heads, refinement), `gestures` with
  `alphabets`, `internet`, `rootnet`, `handoccnet` and `deformer`, `cam`, `mask_rcnn` and `vqa`: The recipes.
"""
