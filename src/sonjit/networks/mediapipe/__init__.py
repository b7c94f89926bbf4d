"""MediaPipe's networks, with the published weights."""
