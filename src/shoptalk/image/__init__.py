"""Pictures: decoded within limits, kept as arrays of pixels, augmented and distorted."""
