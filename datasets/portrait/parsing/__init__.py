"""Our own person parsing: background, head with hair, neck, torso, from the picture alone."""
