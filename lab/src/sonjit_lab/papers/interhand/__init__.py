"""InterNet and RootNet on InterHand2.6M: joints of two hands in space from one image."""
