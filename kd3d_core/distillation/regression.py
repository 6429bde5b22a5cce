"""Linear algebra of the start from a teacher: which channels to take, and how to meet them."""

import torch
from torch import Tensor


def pivots(values: Tensor, count: int) -> Tensor:
    """Columns from which the others can best be told: pivoted Cholesky of the second moments.

    Each pick is the column with the most energy that the columns picked before do not explain
    (Harbrecht et al., Applied Numerical Mathematics 2012).

    Args:
        values: (n, C).
        count: How many at most.

    Returns:
        (min(count, C),) int64, in order of picking.
    """
    moments = values.double().T @ values.double() / max(len(values), 1)
    left = moments.diagonal().clone()
    factor = moments.new_zeros(len(left), min(count, len(left)))
    picked: list[int] = []
    free = torch.ones_like(left, dtype=torch.bool)
    for i in range(factor.shape[1]):
        best = int(torch.where(free, left, left.new_tensor(-1.0)).argmax())
        picked.append(best)
        free[best] = False
        if left[best] > 1e-12:
            rest = moments[:, best] - factor[:, :i] @ factor[best, :i]
            factor[:, i] = rest / left[best].sqrt()
            left = (left - factor[:, i] ** 2).clamp(min=0)
    return torch.tensor(picked)


def rectified_ridge(
    inputs: Tensor,
    target: Tensor,
    ridge: float,
    rounds: int,
    *,
    shared: int = 1,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights and biases so that ReLU(inputs W + b) is near ReLU(target).

    A plain ridge regression first. Then, `rounds` times, targets below zero become whatever the
    last answer was, but for what stands above zero: a value that ReLU cuts off needs no meeting.

    Args:
        inputs: (n, d).
        target: (n, k), before the ReLU.
        ridge: Penalty on the weights beside the mean square of the inputs.
        rounds: 0 for plain regression of the target itself.
        shared: So many neighbouring columns of the target have one bias.
        scale: (n,) weights of the rows, or None.

    Returns:
        (k, d) and (k,) of the inputs' dtype.
    """
    rows = inputs.double() if scale is None else inputs.double() * scale.double()[:, None].sqrt()
    ones = torch.ones(len(inputs), 1, dtype=torch.float64)
    constant = ones if scale is None else scale.double()[:, None].sqrt()
    design = torch.cat([rows, constant], dim=1)
    square = design.T @ design / len(design)
    penalty = torch.full_like(square.diagonal(), ridge * float(square.diagonal()[:-1].mean()))
    penalty[-1] = 1e-9
    factor = torch.linalg.cholesky(square + penalty.diag() + 1e-9 * torch.eye(len(square)))
    wanted = target.double()
    answer = _fit(design, factor, wanted, constant, shared)
    for _ in range(rounds):
        said = design @ answer
        answer = _fit(
            design, factor, torch.where(target > 0, wanted, said.clamp(max=0)), constant, shared
        )
    return answer[:-1].T.to(inputs.dtype), answer[-1].to(inputs.dtype)


def _fit(design: Tensor, factor: Tensor, wanted: Tensor, constant: Tensor, shared: int) -> Tensor:
    """(d + 1, k) solution of the normal equations; the last row is the bias."""
    answer = torch.cholesky_solve(design.T @ (wanted * constant) / len(design), factor)
    if shared > 1:
        bias = answer[-1].view(-1, shared).mean(dim=1).repeat_interleave(shared)
        left = design.T @ ((wanted - bias) * constant) / len(design)
        answer = torch.cholesky_solve(left, factor)
        answer[-1] = bias
    return answer
