"""MediaPipe's palm detector and hand landmark networks, and masks on their trunk."""
