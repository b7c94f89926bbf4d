"""Search for hands, faces and bodies in images and streams.

A search proposes boxes from detectors in windows and from other instances, verifies each in the landmark network,
suppresses duplicates and scores what remains. `agenda` orders the work, `search.json` has the fitted constants.
"""
