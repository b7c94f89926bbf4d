"""Systems of the literature, each in a folder with its networks, losses, recipes, evaluation and README.

Nothing below this package imports it. Networks, recipes, evaluators and models are found by import strings.
"""
