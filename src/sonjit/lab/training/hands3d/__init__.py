"""Train networks for hands in space: InterNet, RootNet, HandOccNet and Deformer."""
