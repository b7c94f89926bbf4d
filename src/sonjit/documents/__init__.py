"""Reports and cards as Markdown and pages, and their drawings: what evaluation and training say, they say with it."""
