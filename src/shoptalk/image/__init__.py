"""Pictures: decoding within limits, arrays of pixels, augmentation."""
