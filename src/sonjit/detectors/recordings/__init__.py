"""Follow the instances of recordings: key frame, tracklets, joined tracks.

1. `key_frames` decides which frames are searched as stills, and compares what they show with the tracks.
2. `tracklets` carries instances from frame to frame by the landmark network alone, forwards from each key frame, and
   backwards to where an instance begins.
3. `following` combines both in one step for each frame.
4. `joining` keeps the last seconds of the recording, joins tracklets of one instance, removes what no key frame
   supports, and numbers what remains.

Streams without look-ahead use the first three, forwards only.
"""
