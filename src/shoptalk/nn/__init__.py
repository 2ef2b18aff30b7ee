"""Networks: base models, encoders, precision, memory and the losses that several objectives share."""
