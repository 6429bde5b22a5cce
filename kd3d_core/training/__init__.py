"""Training with Lightning: data module, module, callbacks, checkpoints."""
