"""The arena: distillation methods x students x seeds under one budget, and an honest table."""
