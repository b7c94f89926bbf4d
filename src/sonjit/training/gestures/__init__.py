"""The recipe for the classifier of gestures."""
