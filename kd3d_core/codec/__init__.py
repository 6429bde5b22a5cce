"""Cloud to network input, and network output to boxes: what training and the robot must share.

NumPy and numba, no torch. There is one implementation of each step, used by the data loader, by
evaluation and by the runtime alike, so that a trained model cannot meet other inputs on the robot
than it was trained on.
"""
