"""The research laboratory: networks, data sets, metrics, training, evaluation, synthesis and meshes."""
