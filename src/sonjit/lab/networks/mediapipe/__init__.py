"""MediaPipe's networks with their published weights."""
