"""Train networks with recipes.

* `recipes`: Finds, checks and runs what `sonjit train` trains. `own_recipes` has those of Sonjit's own networks. A
  recipe of a user is a TOML file that names its function and its settings class, or a recipe as its base.
* `settings`: Hyperparameters, optimizers, learning-rate schedules and initial weights.
* `loop`: The training loop that every recipe uses. `batches` prefetches its batches.
* `run_folder` and `report`: The files of a run and its HTML report.
* `ablation`: Grids of runs, compared with a published table.
* `augment`, `losses`, `building_blocks`: Building blocks for recipes.
* `faces_and_bodies`, `hands` (keypoint detector, heads, refinement, and the crops of all landmark networks), and
  `gestures` with `alphabets`: Recipes of Sonjit's own networks. Those of the literature are in `sonjit_lab.papers`.
"""
