"""Golden numbers of torch.optim, torch.nn.init and torch.nn.functional for the tests in src/nn.

Writes src/nn/testdata/golden.json.

    python tools/reference/nn.py
"""

import json
import warnings
from pathlib import Path

import torch
from torch import nn
from transformers import optimization as schedule
from transformers.optimization import Adafactor

warnings.filterwarnings("ignore")
HERE = Path(__file__).resolve().parents[2] / "src/nn/testdata"
STEPS = 6


def numbers(t):
    return [float(f"{v:.9g}") for v in t.detach().double().flatten().tolist()]


def problem():
    """Two parameters and a loss whose gradients change in size from step to step."""
    g = torch.Generator().manual_seed(0)
    w = torch.randn(3, 2, generator=g).requires_grad_()
    b = torch.randn(2, generator=g).requires_grad_()
    x = torch.randn(STEPS, 5, 3, generator=g)
    y = torch.randn(STEPS, 5, 2, generator=g)
    return w, b, x, y


def optimizers():
    w0, b0, x, y = problem()
    cases = {
        "sgd": lambda ps: torch.optim.SGD(ps, lr=0.1),
        "sgd momentum": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
        "sgd nesterov decay": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
        "sgd dampening decay": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.8, dampening=0.3, weight_decay=0.1),
        "sgd decay": lambda ps: torch.optim.SGD(ps, lr=0.1, weight_decay=0.2),
        "adam": lambda ps: torch.optim.Adam(ps, lr=0.05),
        "adam decay": lambda ps: torch.optim.Adam(ps, lr=0.05, betas=(0.8, 0.99), eps=1e-3, weight_decay=0.1),
        "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.05),
        "adamw decay": lambda ps: torch.optim.AdamW(ps, lr=0.05, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.3),
        "sgd clipped": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
        "adamw groups": lambda ps: torch.optim.AdamW(
            [dict(params=ps[:1], lr=0.05, weight_decay=0.3), dict(params=ps[1:], lr=0.2, weight_decay=0.0)]
        ),
        "sgd maximize": lambda ps: torch.optim.SGD(ps, lr=0.001, momentum=0.9, weight_decay=0.1, maximize=True),
        "adamw amsgrad": lambda ps: torch.optim.AdamW(ps, lr=0.05, amsgrad=True, betas=(0.9, 0.5), maximize=True),
        "adam amsgrad": lambda ps: torch.optim.Adam(ps, lr=0.05, amsgrad=True, betas=(0.9, 0.5)),
        "nadam": lambda ps: torch.optim.NAdam(ps, lr=0.05, weight_decay=0.1),
        "radam": lambda ps: torch.optim.RAdam(ps, lr=0.05, betas=(0.9, 0.99)),
        "radam early": lambda ps: torch.optim.RAdam(ps, lr=0.05, betas=(0.8, 0.7), weight_decay=0.1),
        "adamax": lambda ps: torch.optim.Adamax(ps, lr=0.05, weight_decay=0.1),
        "rmsprop": lambda ps: torch.optim.RMSprop(ps, lr=0.05),
        "rmsprop centered": lambda ps: torch.optim.RMSprop(
            ps, lr=0.01, alpha=0.8, eps=1e-6, momentum=0.7, centered=True, weight_decay=0.1
        ),
        "adagrad": lambda ps: torch.optim.Adagrad(
            ps, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.2, weight_decay=0.1
        ),
        "adadelta": lambda ps: torch.optim.Adadelta(ps, lr=1.0, rho=0.8, weight_decay=0.1),
        "adafactor": lambda ps: Adafactor(ps),
        "adafactor fixed": lambda ps: Adafactor(
            ps, lr=0.05, relative_step=False, scale_parameter=False, beta1=0.9, weight_decay=0.1
        ),
        "adafactor warm": lambda ps: Adafactor(ps, warmup_init=True, clip_threshold=0.5),
        "accumulated": lambda ps: torch.optim.AdamW(ps, lr=0.05),
        "sgd cosine": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
    }
    out = {}
    for name, make in cases.items():
        w, b, _, _ = problem()
        optimizer = make([w, b])
        scheduler = None
        if "cosine" in name:
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        track = []
        for t in range(STEPS):
            if name != "accumulated" or t % 2 == 0:
                optimizer.zero_grad()
            # Small weights make the first losses flat and the later ones steep: clipping takes hold on some only.
            loss = ((x[t] @ w + b - y[t]) ** 2).mean() * (t + 1) / 3
            (loss / 2 if name == "accumulated" else loss).backward()
            if name == "accumulated" and t % 2 == 0:
                track.append([numbers(w), numbers(b)])
                continue
            if "clipped" in name:
                nn.utils.clip_grad_norm_([w, b], 1.0)
            optimizer.step()
            if scheduler:
                scheduler.step()
            track.append([numbers(w), numbers(b)])
        out[name] = track
    return dict(w=numbers(w0), b=numbers(b0), x=numbers(x), y=numbers(y), steps=out)


class ConstantWarmup(torch.optim.lr_scheduler.LRScheduler):
    """As in Dassl: a constant rate for the first epochs, then the successor, which is stepped from there on."""

    def __init__(self, optimizer, successor, warmup_epoch, cons_lr):
        self.successor, self.warmup_epoch, self.cons_lr = successor, warmup_epoch, cons_lr
        super().__init__(optimizer)

    def get_lr(self):
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return [self.cons_lr for _ in self.base_lrs]

    def step(self, epoch=None):
        if self.last_epoch >= self.warmup_epoch:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)


def schedules():
    out = {}
    for epochs in (1, 5, 50):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.002)
        successor = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, float(epochs))
        scheduler = ConstantWarmup(optimizer, successor, 1, 1e-5)
        rates = []
        for _ in range(epochs):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        out[f"dassl {epochs}"] = rates
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=0.05)
    rates = []
    for _ in range(21):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    out["cosine"] = rates
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.1)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    out["step"] = rates

    def track(make, steps):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        scheduler, rates = make(optimizer), []
        for i in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if i < steps - 1:
                scheduler.step()
        return rates

    lr = torch.optim.lr_scheduler
    return out | {
        "multiStep": track(lambda o: lr.MultiStepLR(o, [2, 3, 7], 0.3), 10),
        "exponential": track(lambda o: lr.ExponentialLR(o, 0.8), 6),
        "constantWithWarmup": track(lambda o: schedule.get_constant_schedule_with_warmup(o, 3), 6),
        "linearWithWarmup": track(lambda o: schedule.get_linear_schedule_with_warmup(o, 3, 10), 12),
        "cosineWithWarmup": track(lambda o: schedule.get_cosine_schedule_with_warmup(o, 3, 10), 12),
        "cosineWithWarmup, waves": track(lambda o: schedule.get_cosine_schedule_with_warmup(o, 0, 10, 1.25), 10),
        "cosineWithRestarts": track(
            lambda o: schedule.get_cosine_with_hard_restarts_schedule_with_warmup(o, 2, 12, 2), 14
        ),
        "polynomial": track(
            lambda o: schedule.get_polynomial_decay_schedule_with_warmup(o, 2, 10, lr_end=0.01, power=2), 12
        ),
        "inverseSqrt": track(lambda o: schedule.get_inverse_sqrt_schedule(o, 3), 8),
        "inverseSqrt, no warm-up": track(lambda o: schedule.get_inverse_sqrt_schedule(o, 0), 4),
        "oneCycle": track(lambda o: lr.OneCycleLR(o, 0.5, total_steps=12), 12),
        "oneCycle, linear": track(
            lambda o: lr.OneCycleLR(
                o, 0.5, total_steps=11, pct_start=0.4, anneal_strategy="linear", div_factor=5, final_div_factor=10
            ),
            11,
        ),
    }


def initialisers():
    def moments(fill, shape):
        torch.manual_seed(0)
        t = torch.empty(*shape)
        fill(t)
        return dict(shape=list(shape), mean=t.mean().item(), std=t.std().item(), min=t.min().item(), max=t.max().item())

    big, conv = (200, 300), (64, 32, 3, 3)
    linear = nn.Linear(300, 200)
    return {
        "linear": moments(lambda t: t.copy_(linear.weight.detach()), big),
        "linear conv": moments(lambda t: t.copy_(nn.Conv2d(32, 64, 3).weight.detach()), conv),
        "linearBias": moments(lambda t: t.copy_(nn.Linear(300, 20000).bias.detach()), (20000,)),
        "xavierUniform": moments(nn.init.xavier_uniform_, big),
        "xavierUniform conv": moments(nn.init.xavier_uniform_, conv),
        "kaimingNormal": moments(lambda t: nn.init.kaiming_normal_(t, nonlinearity="relu"), big),
        "kaimingNormal fanOut": moments(
            lambda t: nn.init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), conv
        ),
        "normal": moments(lambda t: nn.init.normal_(t, 0.5, 0.02), big),
        "uniform": moments(lambda t: nn.init.uniform_(t, -0.3, 0.7), big),
        "truncatedNormal wide": moments(lambda t: nn.init.trunc_normal_(t, std=1.5), big),
        "truncatedNormal": moments(lambda t: nn.init.trunc_normal_(t, std=0.02), big),
    }


def losses():
    g = torch.Generator().manual_seed(1)
    logits = (3 * torch.randn(4, 5, generator=g)).requires_grad_()
    hard = torch.tensor([0, 4, 2, 2])
    soft = torch.softmax(torch.randn(4, 5, generator=g), -1)
    out = dict(logits=numbers(logits), hard=hard.tolist(), soft=numbers(soft), cases={})
    for name, target, smoothing in [("hard", hard, 0), ("soft", soft, 0), ("hard", hard, 0.1), ("soft", soft, 0.3)]:
        loss = nn.functional.cross_entropy(logits, target, label_smoothing=smoothing)
        (grad,) = torch.autograd.grad(loss, logits)
        out["cases"][f"{name} {smoothing}"] = dict(loss=numbers(loss), grad=numbers(grad))
    other = torch.randn(4, 5, generator=g)
    out["other"] = numbers(other)
    out["mse"] = numbers(nn.functional.mse_loss(logits, other))
    out["accuracy"] = (logits.argmax(-1) == hard).float().mean().item()
    return out


def attention():
    g = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, 3, 4, 8, generator=g) for _ in range(3))
    mask = torch.full((4, 4), float("-inf")).triu(1)
    return dict(
        q=numbers(q),
        k=numbers(k),
        v=numbers(v),
        full=numbers(nn.functional.scaled_dot_product_attention(q, k, v)),
        causal=numbers(nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)),
    )


def layers():
    g = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 6, generator=g) * 2 + 5
    weight, bias = torch.randn(6, generator=g), torch.randn(6, generator=g)
    w, b = torch.randn(4, 6, generator=g), torch.randn(4, generator=g)
    # A row far from zero: the variance must not be computed as a difference of large numbers.
    far = torch.randn(2, 768, generator=g) * 0.5 + 30
    return dict(
        x=numbers(x),
        weight=numbers(weight),
        bias=numbers(bias),
        w=numbers(w),
        b=numbers(b),
        norm=numbers(nn.functional.layer_norm(x, (6,), weight, bias, 1e-3)),
        linear=numbers(nn.functional.linear(x, w, b)),
        far=numbers(far),
        farNorm=numbers(nn.functional.layer_norm(far.double(), (768,))),
    )


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    golden = dict(
        optimizers=optimizers(),
        schedules=schedules(),
        initialisers=initialisers(),
        losses=losses(),
        attention=attention(),
        layers=layers(),
    )
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")
