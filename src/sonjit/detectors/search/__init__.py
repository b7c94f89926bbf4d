"""Search for hands, faces and bodies in images, and in the key frames of streams.

Every search has four steps: propose boxes, verify them by the landmark network, suppress duplicates, and score what
remains by the features of its observations. `load` makes the searches of a detector, and `search.json` has the fitted
constants. `stills` runs the steps, and each kind defines them (`hands`, `faces`, `bodies`; `people` combines them).
"""
