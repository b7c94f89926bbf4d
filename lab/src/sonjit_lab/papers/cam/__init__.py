"""Class activation maps of classifiers, and answers to questions about images."""
