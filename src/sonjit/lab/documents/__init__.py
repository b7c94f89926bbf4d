"""Reports and cards as Markdown and HTML pages with SVG plots, for evaluation and training."""
