"""The live app: an HTTP and WebSocket server on this machine, and the page that it shows."""
