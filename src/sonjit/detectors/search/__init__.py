"""Search for hands, faces and bodies in images and streams.

Every search has the four steps below. `load` makes the searches of a detector, and `search.json` has the fitted
constants.

1. Propose boxes from detectors in windows of the image (`geometry.windows`) and from other instances: bodies below
   faces, hands at the ends of arms.
2. Verify a proposal by the landmark network. In doubt, and always in streams, a second observation of another crop, the
   mirrored image or the next frame must agree.
3. Suppress duplicates.
4. Score what remains by the features of its observations.

In stills, each kind has a search (`hands`, `faces`, `bodies`; `people` combines them). `agenda` orders its steps by
expected gain per cost. In streams, `streams` does a few steps in each frame. `stream_finders` has what differs between
the kinds.
"""
