"""Networks: base models, encoders, heads and the losses that several objectives share."""
