"""Search for hands, faces and bodies in images and streams.

Every search has four steps:

1. Propose boxes from detectors in windows of the image (`geometry.windows`) and from other instances: bodies below
   faces, hands at the ends of arms.
2. Verify each proposal with two observations of the landmark network. The second one has another crop, the mirrored
   image, or the next frame.
3. Suppress duplicates.
4. Score what remains by the features of both observations. `search.json` has the fitted constants.

In stills, each kind has a search (`hands`, `faces`, `bodies`; `people` combines them). `agenda` orders its steps by
expected gain per cost. In streams, `streams` does a few steps in each frame. `stream_finders` has what differs between
the kinds. `load` makes the searches of a detector.
"""
