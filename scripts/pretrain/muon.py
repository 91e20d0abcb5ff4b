"""Muon (Keller Jordan, 2024, https://kellerjordan.github.io/posts/muon): momentum whose update is orthogonalised.

Used for the matrices inside the layers; embeddings and norms are left to AdamW.
"""

import torch


def orthogonalise(g, steps=5):
    """Nearest semi-orthogonal matrix to each (m, n) of the stack g (..., m, n), by the quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = g.size(-2) > g.size(-1)
    if tall:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                buffer = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                nesterov = p.grad.lerp(buffer, group["momentum"])
                flat = nesterov.flatten(0, -3)  # (matrices, m, n)
                # on a GPU in bfloat16, on a CPU in float32: there bfloat16 products of this size gain nothing
                update = orthogonalise(flat.bfloat16() if p.is_cuda else flat)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                gain = max(1.0, p.size(-2) / p.size(-1)) ** 0.5
                p.add_(update.view_as(p).type_as(p), alpha=-group["lr"] * gain)
