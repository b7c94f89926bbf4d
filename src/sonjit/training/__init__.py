"""Training networks by recipes.

What is where:

* `recipes`: the TOML files of `sonjit train`, and what reads, checks and runs them; recipes of other packages are TOML
  files, too, that name their own function and settings class;
* `settings`: the hyperparameters of every recipe, optimizers and schedules; `loop`: the one training loop;
* `run_folder`, `report`: the files of a run and its report; `ablation`: grids of runs beside a published table;
* `initialise`, `losses`, `augment`, `distributed`: building blocks for recipes;
* a folder for each family of recipes: `hands` (palms, landmarks, the keypoint detector), `hands3d` (InterNet, RootNet,
  HandOccNet, Deformer), `hand_heads` (visibility and handedness), `images` (CAM, Mask R-CNN).
"""
