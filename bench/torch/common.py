"""What the training benchmarks share."""

import torch


def training(loss_of, parameters, optimizer):
    """A step that minimises loss_of(), and what it compares: the optimizer's momentum, or Adam's first moment."""

    def step():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    def results():
        key = "momentum_buffer" if isinstance(optimizer, torch.optim.SGD) else "exp_avg"
        return {name: optimizer.state[p][key] for name, p in parameters.items()}

    return step, results
