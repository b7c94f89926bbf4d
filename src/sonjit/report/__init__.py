"""Reports: pages of text, tables and plots, and the page about joint angles."""
