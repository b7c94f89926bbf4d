"""Motions of tracked hands: swipes, waves, pinches, claps and others, as events with a begin and an end.

Lengths are in hand lengths (wrist to the tip of the middle finger, along the bones) and durations in seconds, so that
neither the distance to the camera nor the frame rate matters, from 5 frames a second on.
"""
