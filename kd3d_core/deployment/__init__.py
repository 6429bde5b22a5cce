"""From a checkpoint to a bundle: export and parity check."""
