"""Dense conditional random fields: Gaussian kernels, mean-field inference, and the loss."""
