"""Rendered hands with exact labels (extra `[synth]`).

factors → scene → drawables → buffers → image and labels → files: `factors` draws a `Scene` from a seed, `bodies` of
hands and objects make `Drawable`s of it, the renderer fills `Buffers` for each camera, effects make an image and
`labels` exact truth of them, writers put both on disk.
"""
