"""Train networks on images: image classifiers, Mask R-CNN and visual question answering."""
