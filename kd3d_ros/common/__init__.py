"""What all nodes share: messages, parameters, diagnostics, transforms."""
