"""Where a network looked: class activation maps and saliency, on pictures and on what the detectors cut out of them."""
