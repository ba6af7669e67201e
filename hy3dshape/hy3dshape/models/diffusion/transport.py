"""Flow matching: paths from noise to data, losses, and samplers of the ODE and the SDE.

SiT, Ma et al., ECCV 2024, arXiv:2401.08740 (paths, conversions between velocity, score and noise,
the SDE of equation 6, last steps; MIT-licensed code `willisma/SiT` for names and constants).
t = 0 is noise, t = 1 is data: x_t = alpha x1 + sigma x0. Nothing here holds state, and every random
number comes from the generator that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Model = Callable[[Tensor, Tensor], Tensor]
"""(x (b, ...), t (b,)) -> prediction like x."""

BETAS = (0.1, 20.0)  # VP noise rates at data and at noise
SAFE_EPS = 1e-3  # start of an SDE whose diffusion is infinite at t = 0


class Coefficients(NamedTuple):
    """Path and its time derivative, each like t."""

    alpha: Tensor
    dalpha: Tensor
    sigma: Tensor
    dsigma: Tensor


def linear(t: Tensor) -> Coefficients:
    return Coefficients(t, torch.ones_like(t), 1 - t, -torch.ones_like(t))


def gvp(t: Tensor) -> Coefficients:
    angle, rate = t * math.pi / 2, math.pi / 2
    return Coefficients(angle.sin(), rate * angle.cos(), angle.cos(), -rate * angle.sin())


def vp(t: Tensor) -> Coefficients:
    low, high = BETAS
    log_alpha = -0.25 * (1 - t) ** 2 * (high - low) - 0.5 * (1 - t) * low
    dlog_alpha = 0.5 * (1 - t) * (high - low) + 0.5 * low
    alpha, sigma = log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()
    return Coefficients(alpha, alpha * dlog_alpha, sigma, -(alpha**2) * dlog_alpha / sigma)


PATHS = {"Linear": linear, "GVP": gvp, "VP": vp}


class Transport:
    """A path with what the network predicts on it; see `create_transport`."""

    def __init__(
        self,
        path_type: str,
        prediction: str,
        loss_weight: str | None,
        train_eps: float,
        sample_eps: float,
        logit_normal: tuple[float, float, float] | None,
        matched_channels: int = 0,
    ) -> None:
        self.path = PATHS[path_type]
        self.path_type, self.prediction, self.loss_weight = path_type, prediction, loss_weight
        self.train_eps, self.sample_eps = train_eps, sample_eps
        self.logit_normal, self.matched_channels = logit_normal, matched_channels

    def interval(self, eps: float) -> tuple[float, float]:
        """Times at which prediction and velocity are finite: eps away from the bad ends."""
        start = eps if self.prediction != "velocity" and self.path_type != "VP" else 0.0
        end = eps if self.prediction != "velocity" or self.path_type == "VP" else 0.0
        return start, 1 - end

    def sample_times(
        self, batch: int, device: torch.device, generator: torch.Generator | None = None
    ) -> Tensor:
        """(batch,) float32 training times, uniform or logit-normal."""
        where = generator.device if generator is not None else device
        start, end = self.interval(self.train_eps)
        if self.logit_normal is None:
            t = torch.rand(batch, generator=generator, device=where)
        else:
            t = torch.randn(batch, generator=generator, device=where)
            t = logit_normal_times(t, *self.logit_normal)
        return (start + (end - start) * t).to(device)

    def match(self, noise: Tensor, data: Tensor) -> Tensor:
        """The noise (b, n, c) with the vectors of each sample in the order that is nearest to data.

        Least sum of squared distances in the first `matched_channels` channels. A set of
        independent noise vectors is as likely in any order, so a model without positions learns the
        same sets, along straighter paths: Klein et al., NeurIPS 2023, arXiv:2306.15030.
        """
        if not self.matched_channels:
            return noise
        near = slice(None, self.matched_channels)
        costs = torch.cdist(data[..., near], noise[..., near]).square().cpu().numpy()
        order = [torch.from_numpy(linear_sum_assignment(cost)[1]) for cost in costs]
        return noise.gather(1, torch.stack(order).to(noise.device)[..., None].expand_as(noise))

    def interpolate(self, noise: Tensor, data: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """x_t and its velocity, for t (b,); noise and data (b, ...)."""
        c = self.coefficients(t, data)
        return c.alpha * data + c.sigma * noise, c.dalpha * data + c.dsigma * noise

    def loss(self, prediction: Tensor, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """Weighted squared error of each sample: (b,), the mean over all but the first axis."""
        c = self.coefficients(t, data)
        if self.prediction == "velocity":
            error = prediction - (c.dalpha * data + c.dsigma * noise)
        elif self.prediction == "noise":
            error = prediction - noise
        else:
            error = prediction * c.sigma + noise
        weight = torch.ones_like(c.sigma)
        if self.prediction != "velocity" and self.loss_weight is not None:
            rate = _score_rate(c)
            weight = (rate / c.sigma) ** 2 if self.loss_weight == "velocity" else rate / c.sigma**2
        return (weight * error**2).flatten(1).mean(dim=1)

    def velocity(self, prediction: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Velocity of the flow at x from the network's output."""
        if self.prediction == "velocity":
            return prediction
        c = self.coefficients(t, x)
        return c.dalpha / c.alpha * x + _score_rate(c) * self.score(prediction, x, t)

    def score(self, prediction: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Gradient of log p_t at x from the network's output."""
        c = self.coefficients(t, x)
        if self.prediction == "noise":
            return -prediction / c.sigma
        if self.prediction == "score":
            return prediction
        ratio = c.alpha / c.dalpha
        return (ratio * prediction - x) / (c.sigma**2 - ratio * c.dsigma * c.sigma)

    def coefficients(self, t: Tensor, like: Tensor) -> Coefficients:
        """Of t (b,), shaped (b, 1, ...) to multiply `like`."""
        return self.path(t.view(-1, *[1] * (like.ndim - 1)))


def create_transport(
    path_type: Literal["Linear", "GVP", "VP"] = "Linear",
    prediction: Literal["velocity", "noise", "score"] = "velocity",
    loss_weight: Literal["velocity", "likelihood"] | None = None,
    train_eps: float | None = None,
    sample_eps: float | None = None,
    train_sample_type: Literal["uniform", "logit_normal"] = "uniform",
    mean: float = 0.0,
    std: float = 1.0,
    shift_scale: float = 1.0,
    matched_channels: int = 0,
) -> Transport:
    """The flow of a configuration.

    Args:
        loss_weight: weight over time of a noise or score loss; a velocity loss has none.
        train_eps, sample_eps: distance from the ends of [0, 1] where these are singular; None for
            1e-5 and 1e-3 (VP), 0 (velocity), else 1e-3.
        mean, std, shift_scale: of `logit_normal`; see `logit_normal_times`.
        matched_channels: how many channels noise and data are matched in, see `Transport.match`;
            0: not at all. For sets, that is for a denoiser without positions.

    Raises:
        ValueError: an unknown name.
    """
    known = {
        "path_type": (path_type, tuple(PATHS)),
        "prediction": (prediction, ("velocity", "noise", "score")),
        "loss_weight": (loss_weight, (None, "velocity", "likelihood")),
        "train_sample_type": (train_sample_type, ("uniform", "logit_normal")),
    }
    for name, (value, names) in known.items():
        if value not in names:
            raise ValueError(f"{name} {value!r}; expected one of {names}")
    train, sample = (0.0, 0.0) if prediction == "velocity" else (1e-3, 1e-3)
    train, sample = (1e-5, 1e-3) if path_type == "VP" else (train, sample)
    return Transport(
        path_type,
        prediction,
        loss_weight,
        train if train_eps is None else train_eps,
        sample if sample_eps is None else sample_eps,
        (mean, std, shift_scale) if train_sample_type == "logit_normal" else None,
        matched_channels,
    )


def logit_normal_times(normals: Tensor, mean: float, std: float, shift_scale: float) -> Tensor:
    """Times in (0, 1) of standard normals; a shift_scale > 1 moves them to the data end.

    Esser et al., ICML 2024, arXiv:2403.03206, section 3.1.
    """
    t, root = torch.sigmoid(normals * std + mean), math.sqrt(shift_scale)
    return root * t / (1 + (root - 1) * t)


class Sampler:
    """Samplers of a transport by ODE or SDE; none runs unless called."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def sample_ode(
        self,
        model: Model,
        x: Tensor,
        sampling_method: Literal["euler", "midpoint", "heun", "dopri5"] = "dopri5",
        num_steps: int = 50,
        atol: float = 1e-6,
        rtol: float = 1e-3,
        reverse: bool = False,
    ) -> Tensor:
        """States (num_steps, b, ...) at equal times from noise to data, both ends included.

        Args:
            num_steps: number of states; the methods of fixed step do num_steps - 1 updates.
            atol, rtol: tolerances of dopri5 (scipy's RK45), which chooses its own steps.
            reverse: from data to noise.
        """
        if num_steps < 2:
            raise ValueError(f"num_steps {num_steps}; expected 2 or more")
        start, end = self.transport.interval(self.transport.sample_eps)
        times = torch.linspace(start, end, num_steps, dtype=torch.float64)
        times = times.flip(0) if reverse else times

        def velocity(x: Tensor, t: float) -> Tensor:
            batch = x.new_full((len(x),), t)
            return self.transport.velocity(model(x, batch), x, batch)

        if sampling_method == "dopri5":
            return _dopri5(velocity, x, times.tolist(), atol, rtol)
        if sampling_method not in STEPS:
            raise ValueError(f"sampling_method {sampling_method!r}; expected {[*STEPS, 'dopri5']}")
        states = [x]
        for t, following in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            states.append(STEPS[sampling_method](velocity, states[-1], t, following - t))
        return torch.stack(states)

    def sample_sde(
        self,
        model: Model,
        x: Tensor,
        sampling_method: Literal["Euler", "Heun"] = "Euler",
        diffusion_form: Literal["constant", "SBDM", "sigma", "linear"] = "sigma",
        diffusion_norm: float = 1.0,
        last_step: Literal["Mean", "Tweedie", "Euler"] | None = "Mean",
        last_step_size: float = 0.04,
        num_steps: int = 250,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Sample of dx = (v + w score) dt + sqrt(2 w) dW: (b, ...), from noise x.

        Args:
            diffusion_form: w, times diffusion_norm: 1, the rate of the score-based SDE, sigma,
                or 1 - t.
            last_step: how the interval [1 - last_step_size, 1] is crossed: along the mean, by
                Tweedie's estimate of the data, along the velocity; None: the SDE stops there.
            num_steps: Euler-Maruyama or Heun steps before it.
        """
        self._check_sde(sampling_method, diffusion_form, last_step, num_steps)
        transport = self.transport

        def terms(x: Tensor, t: float) -> tuple[Tensor, Tensor, Tensor]:
            """Velocity, score, and w shaped (b, 1, ...)."""
            batch = x.new_full((len(x),), t)
            out, c = model(x, batch), transport.coefficients(batch, x)
            forms = {"constant": c.alpha * 0 + 1, "sigma": c.sigma, "linear": 1 - t + 0 * c.alpha}
            form = forms[diffusion_form] if diffusion_form in forms else _score_rate(c)
            v, score = transport.velocity(out, x, batch), transport.score(out, x, batch)
            return v, score, diffusion_norm * form

        start = max(transport.interval(transport.sample_eps)[0], transport.sample_eps)
        start = max(start, SAFE_EPS) if diffusion_form == "SBDM" else start
        end = 1 - (last_step_size if last_step else max(transport.sample_eps, SAFE_EPS))
        step = (end - start) / num_steps
        for i in range(num_steps):
            t = start + i * step
            normal = _normal_like(x, generator) * math.sqrt(step)
            v, score, w = terms(x, t)
            if sampling_method == "Heun":
                x = x + (2 * w).sqrt() * normal
                v, score, w = terms(x, t)
                slope = v + w * score
                v, score, w = terms(x + step * slope, t + step)
                x = x + step / 2 * (slope + v + w * score)
            else:
                x = x + step * (v + w * score) + (2 * w).sqrt() * normal
        if last_step is None:
            return x
        v, score, w = terms(x, end)
        if last_step == "Tweedie":
            c = transport.coefficients(x.new_full((len(x),), end), x)
            return (x + c.sigma**2 * score) / c.alpha
        return x + last_step_size * (v + w * score if last_step == "Mean" else v)

    @staticmethod
    def _check_sde(method: str, form: str, last_step: str | None, num_steps: int) -> None:
        known = {
            "sampling_method": (method, ("Euler", "Heun")),
            "diffusion_form": (form, ("constant", "SBDM", "sigma", "linear")),
            "last_step": (last_step, (None, "Mean", "Tweedie", "Euler")),
        }
        for name, (value, names) in known.items():
            if value not in names:
                raise ValueError(f"{name} {value!r}; expected one of {names}")
        if num_steps < 1:
            raise ValueError(f"num_steps {num_steps}; expected 1 or more")


Velocity = Callable[[Tensor, float], Tensor]


def _euler(velocity: Velocity, x: Tensor, t: float, step: float) -> Tensor:
    return x + step * velocity(x, t)


def _midpoint(velocity: Velocity, x: Tensor, t: float, step: float) -> Tensor:
    return x + step * velocity(x + step / 2 * velocity(x, t), t + step / 2)


def _heun(velocity: Velocity, x: Tensor, t: float, step: float) -> Tensor:
    first = velocity(x, t)
    return x + step / 2 * (first + velocity(x + step * first, t + step))


STEPS = {"euler": _euler, "midpoint": _midpoint, "heun": _heun}


def _dopri5(velocity: Velocity, x: Tensor, times: list[float], atol: float, rtol: float) -> Tensor:
    """Dormand-Prince 5(4) of scipy, in float64 on the host; the velocity runs where x lies."""
    from scipy.integrate import solve_ivp

    def slope(t: float, flat: object) -> object:
        state = torch.as_tensor(flat).to(x).view_as(x)
        return velocity(state, t).double().cpu().flatten().numpy()

    begin = x.double().cpu().flatten().numpy()
    solved = solve_ivp(slope, (times[0], times[-1]), begin, t_eval=times, atol=atol, rtol=rtol)
    if not solved.success:
        raise ValueError(f"dopri5 stopped: {solved.message}")
    return torch.from_numpy(solved.y.T.copy()).to(x).view(len(times), *x.shape)


def _score_rate(c: Coefficients) -> Tensor:
    """Factor of the score in the velocity: v = dalpha / alpha x + rate * score."""
    return c.dalpha / c.alpha * c.sigma**2 - c.sigma * c.dsigma


def _normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    where = generator.device if generator is not None else x.device
    return torch.randn(x.shape, generator=generator, device=where).to(x)
