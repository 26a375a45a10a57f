"""The PyTorch module: forward is the rig, backward is the twin, and everything around it is PyTorch as usual."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import labtrain as lt
from labtrain.errors import InputError, MeasurementError
from labtrain.layer import Shots
from labtrain.twin import WaveTwin, load_twin, save_twin
from tests.methods.perturbed import Quiet
from tests.methods.twinned import exact_twin
from tests.worlds import Interference, blobs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def torch():
    found = pytest.importorskip("torch", reason='PyTorch is not installed: pip install "labtrain[torch]"')
    threads = found.get_num_threads()
    found.set_num_threads(1)  # more of them only wait for one another in products as small as these
    yield found
    found.set_num_threads(threads)


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return load_twin(exact_twin(Quiet(), tmp_path_factory.mktemp("twin") / "twin.npz"))


class Counted:
    """A twin that counts what it is asked."""

    def __init__(self, twin: WaveTwin) -> None:
        self.twin, self.vjps, self.told = twin, 0, None

    def __getattr__(self, name):
        return getattr(self.twin, name)

    def vjp(self, x, dy):
        self.vjps += 1
        self.told = np.array(x)
        return self.twin.vjp(x, dy)


class Stepped(Quiet):
    """Is told tenths."""

    def quantise(self, x):
        return np.round(np.asarray(x) * 10) / 10

    def _measure(self, x):
        yield from super()._measure(self.quantise(x))


class Failing(Interference):
    def _measure(self, x) -> Iterator[Shots]:
        for number, chunk in enumerate(super()._measure(x)):
            if number == 2:
                raise MeasurementError("a shot stayed bad")
            yield chunk


def physical(layer, twin, **options):
    from labtrain.torch import PhysicalModule

    return PhysicalModule(layer, twin, **options)


def drives(torch, *shape, seed=0, **options):
    return torch.as_tensor(0.1 + 0.8 * np.random.default_rng(seed).random(shape), **options)


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6)])
def test_the_gradient_is_that_of_the_rig(torch, twin, shape):
    module = physical(Quiet(), twin, steepest=1e9)
    u = drives(torch, *shape).requires_grad_()
    assert torch.autograd.gradcheck(module, (u,), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6), (0, 6), (2, 0, 6)])
def test_any_leading_shape_of_either_type(torch, twin, dtype, shape):
    dtype = getattr(torch, dtype)
    layer = Quiet()
    module = physical(layer, twin)
    u = drives(torch, *shape, dtype=dtype).requires_grad_()
    y = module(u)
    assert y.shape == (*shape[:-1], 8)
    assert y.dtype == dtype
    assert y.detach().numpy() == pytest.approx(np.abs(u.detach().numpy().astype(float) @ layer.T), rel=1e-6)
    y.sum().backward()
    assert u.grad.shape == u.shape
    assert u.grad.dtype == dtype
    assert module.shots == layer.shot == np.prod(shape[:-1], dtype=int)


def test_views_and_transposes_are_what_they_look_like(torch, twin):
    layer = Quiet()
    u = drives(torch, 6, 5).T
    assert physical(layer, twin)(u).numpy() == pytest.approx(np.abs(u.numpy() @ layer.T))


def test_a_backward_pass_costs_a_product_and_no_shot(torch, twin):
    layer, counted = Quiet(), Counted(twin)
    module = physical(layer, counted)
    loss = module(drives(torch, 5, 6).requires_grad_()).square().sum()
    assert (counted.vjps, layer.shot) == (0, 5)
    loss.backward(retain_graph=True)
    loss.backward()
    assert (counted.vjps, layer.shot, module.shots) == (2, 5, 5)


def test_who_asks_for_no_gradient_pays_none(torch, twin):
    counted = Counted(twin)
    module = physical(Quiet(), counted).eval()
    with torch.no_grad():
        assert not module(drives(torch, 5, 6).requires_grad_()).requires_grad
    with torch.inference_mode():
        module(drives(torch, 5, 6))
    bias = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    (module(drives(torch, 5, 6)) + bias).sum().backward()  # data come in, only what is behind is trained
    assert bias.grad.tolist() == [5.0] * 8
    assert counted.vjps == 0
    assert module.shots == 15


@pytest.mark.parametrize("layer", [Quiet(), Stepped()])
def test_the_product_is_taken_at_what_the_rig_was_told(torch, twin, layer):
    counted = Counted(twin)
    u = drives(torch, 5, 6).requires_grad_()
    y = physical(layer, counted)(u)
    told = layer.quantise(u.detach().numpy().copy())
    with torch.no_grad():
        u *= 0.5  # as an optimiser may before another loss goes backward
    y.sum().backward()
    assert np.array_equal(counted.told, told)
    assert u.grad.numpy() == pytest.approx(twin.vjp(told, np.ones((5, 8))))


def test_no_row_is_steeper_than_the_bound(torch, twin):
    u = drives(torch, 9, 6).requires_grad_()
    dy = np.random.default_rng(1).standard_normal((9, 8))
    physical(Quiet(), twin, steepest=1.2)(u).backward(torch.as_tensor(dy))
    free, bound = twin.vjp(u.detach().numpy(), dy), 1.2 * np.linalg.norm(dy * twin.rms, axis=1)
    lengths, found = np.linalg.norm(free, axis=1), u.grad.numpy()
    assert (lengths > bound).any()
    assert (lengths < bound).any()
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.minimum(lengths, bound))
    assert found / np.linalg.norm(found, axis=1)[:, None] == pytest.approx(free / lengths[:, None])


def test_a_gradient_of_the_gradient_is_refused(torch, twin):
    u = drives(torch, 5, 6).requires_grad_()
    (slope,) = torch.autograd.grad(physical(Quiet(), twin)(u).square().sum(), u, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_a_loop_learns_on_a_noisy_rig(torch, twin):
    torch.manual_seed(0)
    rows, labels = blobs()
    rows, labels = torch.as_tensor(rows, dtype=torch.float32), torch.as_tensor(labels)
    module = physical(Interference(noise=0.02), twin)
    front = torch.nn.Linear(3, 6)
    net = torch.nn.Sequential(front, torch.nn.Sigmoid(), module, torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3))
    # The layers behind stay as they were drawn: what is learned came through the twin.
    optimiser = torch.optim.Adam(front.parameters(), 0.05)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(rows), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert module.shots == 40 * 60
    assert "PhysicalModule(6, 8, twin=wave, shots=2400)" in repr(net)
    assert list(module.parameters()) == []
    assert not [name for name in net.state_dict() if name.startswith("2.")]


@pytest.mark.parametrize(
    ("drive", "sentence"),
    [
        (lambda torch: torch.full((2, 6), 1.5),
         "PhysicalModule: drive of shot 0, input 0 is 1.5, allowed 0 to 1; put a torch.nn.Sigmoid in front"),
        (lambda torch: torch.tensor([[0.0] * 6, [0, 0, float("nan"), 0, 0, 0]]),
         "PhysicalModule: drive of shot 1, input 2 is nan, allowed 0 to 1; put a torch.nn.Sigmoid in front"),
        (lambda torch: torch.zeros(2, 5),
         "PhysicalModule: drive has shape (2, 5), needed (..., 6); put a torch.nn.Linear of 6 outputs in front"),
        (lambda torch: torch.tensor(0.5),
         "PhysicalModule: drive has shape (), needed (..., 6); put a torch.nn.Linear of 6 outputs in front"),
        (lambda torch: torch.zeros(2, 6, dtype=torch.float16),
         "PhysicalModule: drive is torch.float16, needed a tensor of torch.float32 or torch.float64"),
        (lambda torch: torch.zeros(2, 6, dtype=torch.int64),
         "PhysicalModule: drive is torch.int64, needed a tensor of torch.float32 or torch.float64"),
        (lambda torch: np.zeros((2, 6)),
         "PhysicalModule: drive is ndarray, needed a tensor of torch.float32 or torch.float64"),
    ],
)  # fmt: skip
def test_drives_that_do_not_fit_are_refused_before_anything_moves(torch, twin, drive, sentence):
    layer = Quiet()
    with pytest.raises(InputError) as caught:
        physical(layer, twin)(drive(torch))
    assert str(caught.value) == sentence
    assert layer.shot == 0


def test_a_twin_of_another_layer_is_refused(torch, twin, caplog):
    with pytest.raises(InputError) as caught:
        physical(Quiet(n_in=5), twin)
    assert str(caught.value) == (
        "PhysicalModule: the twin has 6 inputs and 8 outputs, the layer of this module 5 and 8; fit it to a recording "
        "of this layer with labtrain twin fit (of light: labtrain twin measure)"
    )
    with pytest.raises(InputError) as caught:
        physical(Quiet(seed=1), twin)
    assert str(caught.value) == (
        "PhysicalModule: the twin was fitted to another rig (interference:0) than that of this module "
        "(interference:1); fit it to a recording of this one with labtrain twin fit (of light: labtrain twin measure)"
    )
    with pytest.raises(InputError, match=r"^PhysicalModule: asked steepest 0, allowed above 0$"):
        physical(Quiet(), twin, steepest=0)
    x = np.random.default_rng(0).random((50, 6))
    with caplog.at_level(logging.WARNING, "labtrain"):
        physical(Quiet(), WaveTwin().fit(x, Quiet().forward(x)))
    assert "PhysicalModule: the twin does not tell which rig it was fitted to" in caplog.text


def test_shots_before_a_failure_are_counted(torch, twin):
    module = physical(Failing(max_batch=4), twin)
    with pytest.raises(MeasurementError):
        module(drives(torch, 20, 6))
    assert module.shots == 8


def test_without_pytorch_one_sentence_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from labtrain.errors import MissingExtra\n"
        "try:\n    import labtrain.torch\nexcept MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == ('labtrain.torch needs PyTorch, which is not installed; run: pip install "labtrain[torch]"\n')


def test_the_example_of_the_docs_runs(torch, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "twins.md").read_text(encoding="utf-8").partition("## In PyTorch")[2]
    example = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acoustic.yaml").write_bytes((ROOT / "config" / "acoustic.yaml").read_bytes())
    rng = np.random.default_rng(0)
    with lt.open_rig(lt.load("acoustic.yaml").value) as rig:
        x = rng.random((400, 20))
        fitted = WaveTwin().fit(x, rig.layers[0].forward(x))
        fitted.fingerprint = rig.layers[0].info.fingerprint
    save_twin(fitted, "twin.npz")
    torch.manual_seed(0)
    batches = [(torch.rand(30, 4), torch.arange(30) % 10) for _ in range(2)]
    names = {"batches": batches}
    exec(compile(example, "docs/twins.md", "exec", dont_inherit=True), names)
    assert names["physics"].shots == 60
    assert all(parameter.grad is not None for parameter in names["net"].parameters())
