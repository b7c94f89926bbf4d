"""One person's hand as meshes: shape, skin, what it wears, its arm."""
