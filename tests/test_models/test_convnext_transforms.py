# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: torch's tracers and function transforms accept the whole backbone, with every design,
and their results compute the same; under them the blocks run plain.
"""

import pytest
import torch
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval
from torch import fx, nn
from torch.func import functional_call

from mmconvnext.models import ConvNeXt

ARCH = dict(depths=[1, 2], channels=[8, 16])
VERSIONS = ['v1', 'v2']
DESIGNS = [
    {},
    dict(stem='resnet', kernel_size=3, group_width=4),
    dict(norm='BN', act='SiLU'),
    dict(norm_after='every_conv', act_after='every_conv', spatial_first=False, expansion_ratio=1),
]


def make(version: str = 'v1', kernels: str = 'plain', **options) -> ConvNeXt:
    """A backbone none of whose weights is trivial."""
    if version == 'v1':
        options['layer_scale_init_value'] = 1.0
    model = ConvNeXt(ARCH, version, kernels=kernels, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def run(model, x: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(3)
    return [m.detach() for m in model(x)]


def assert_equal(found, expected, bound: float = 0.0) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


# --- torch.fx -------------------------------------------------------------------------------------


@pytest.mark.parametrize('design', DESIGNS, ids=str)
@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('training', [False, True])
def test_symbolic_trace(training, version, design):
    model = make(version, design=design, drop_path_rate=0.5, with_cp=True).train(training)
    traced = fx.symbolic_trace(model)
    for size in [(2, 3, 32, 32), (3, 3, 37, 50), (2, 3, 4, 9)]:  # the last one is padded to 2 x 2
        x = torch.randn(size)
        assert_equal(run(traced, x), run(model, x))
    for shape in [(1, 4, 32, 32), (3, 32, 32)]:
        with pytest.raises(ValueError, match=r'takes \(N, 3, H, W\)'):
            traced(torch.randn(shape))


def test_the_trace_drops_samples_anew_each_time():
    traced = fx.symbolic_trace(make(drop_path_rate=0.9))
    x = torch.randn(8, 3, 32, 32)
    assert not torch.equal(traced(x)[1], traced(x)[1])


@pytest.mark.parametrize('version', VERSIONS)
def test_the_fast_path_steps_aside_for_tracing_and_comes_back(version, log_records):
    model = make(version, 'auto').eval()
    x = torch.randn(1, 3, 32, 32)
    expected = run(model, x)
    before = model._report.line('cpu'), len(log_records)
    traced = fx.symbolic_trace(model)
    assert 'input is a Proxy' in model._report.line('cpu') and len(log_records) == before[1]
    assert_equal(run(traced, x), expected, 1e-5)
    assert_equal(run(model, x), expected)
    assert (model._report.line('cpu'), len(log_records)) == before


def test_a_trace_trains():
    model = make('v2')
    x = torch.randn(2, 3, 32, 32)
    grads = []
    for net in (model, fx.symbolic_trace(model)):
        model.zero_grad()
        sum(m.square().sum() for m in net(x)).backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    assert_equal(*grads)


def test_features_are_extracted_by_name():
    """As in torchvision's `create_feature_extractor`: choose other outputs, then erase what they do
    not need."""

    class Tracer(fx.Tracer):
        def is_leaf_module(self, module, name):
            return name in wanted or super().is_leaf_module(module, name)

    model, wanted = make('v2').eval(), ['downsample_layers.0', 'stages.1.0']
    graph = Tracer().trace(model)
    (output,) = (node for node in graph.nodes if node.op == 'output')
    nodes = {node.target: node for node in graph.nodes if node.op == 'call_module'}
    output.args = ({name: nodes[name] for name in wanted},)
    extractor = fx.GraphModule(model, graph)
    extractor.graph.eliminate_dead_code()
    extractor.recompile()
    extractor.delete_all_unused_submodules()
    assert 'norm0' not in dict(extractor.named_modules())

    expected, x = {}, torch.randn(1, 3, 40, 40)
    for name in wanted:
        model.get_submodule(name).register_forward_hook(
            lambda _, args, out, name=name: expected.update({name: out})
        )
    model(x)
    found = extractor(x)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in wanted)


def test_convolutions_and_batch_norms_of_mmengine():
    """`efficient_conv_bn_eval='backbone'` of its runner, which traces the backbone."""
    model = nn.ModuleDict(dict(backbone=make().eval()))
    x = torch.randn(1, 3, 32, 32)
    expected = run(model['backbone'], x)
    turn_on_efficient_conv_bn_eval(model, 'backbone')
    assert isinstance(model['backbone'].forward.__self__, fx.GraphModule)
    assert_equal(run(model['backbone'], x), expected)


# --- torch.func -----------------------------------------------------------------------------------


@pytest.fixture(params=['plain', 'auto'])
def kernels(request):
    return request.param


@pytest.mark.parametrize('version', VERSIONS)
def test_vmap_over_images_and_over_networks(version, kernels):
    models = [make(version, kernels).eval() for _ in range(2)]
    x = torch.randn(3, 3, 33, 40)
    expected = [model(x) for model in models]
    found = torch.func.vmap(models[0])(x[:, None])
    assert_equal([m.squeeze(1) for m in found], expected[0], 1e-4)
    parameters, buffers = torch.func.stack_module_state(models)

    def one(p, b, image):
        return functional_call(models[0], (p, b), (image,))

    found = torch.func.vmap(one, in_dims=(0, 0, None))(parameters, buffers, x)
    for i, maps in enumerate(expected):
        assert_equal([m[i] for m in found], maps, 1e-4)


@pytest.mark.parametrize('version', VERSIONS)
def test_gradients_of_each_image(version, kernels):
    model = make(version, kernels).eval()
    x = torch.randn(3, 3, 16, 16)

    def loss(parameters, image):
        return functional_call(model, parameters, (image[None],))[-1].square().sum()

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for i, image in enumerate(x):
        model.zero_grad()
        model(image[None])[-1].square().sum().backward()
        for name in ('downsample_layers.0.0.weight', 'stages.1.1.dwconv.weight', 'norm1.bias'):
            expected = model.get_parameter(name).grad
            torch.testing.assert_close(found[name][i], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('version', VERSIONS)
def test_derivatives_of_functions(version, kernels):
    """Forward and reverse mode agree with each other, with autograd and with differences."""
    model = make(version, kernels).double().eval()
    x, tangent = torch.randn(2, 2, 3, 12, 9, dtype=torch.float64)

    def last(image):
        return model(image)[-1]

    out, pushed = torch.func.jvp(last, (x,), (tangent,))
    step = 1e-6 * tangent
    difference = (last(x + step) - last(x - step)) / 2e-6
    torch.testing.assert_close(pushed, difference, rtol=0, atol=1e-6)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(last(leaf), leaf, out)
    (pulled,) = torch.func.vjp(last, x)[1](out)
    torch.testing.assert_close(pulled, expected)
    torch.testing.assert_close((pulled * tangent).sum(), (pushed * out).sum())
    summed = torch.func.jacrev(lambda image: last(image).sum((0, 2, 3)))(x)
    torch.testing.assert_close((summed * tangent).sum((1, 2, 3, 4)), pushed.sum((0, 2, 3)))


@pytest.mark.parametrize('version', VERSIONS)
def test_second_derivatives_of_the_plain_path(version):
    model = make(version).double().eval()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    hessian = torch.func.hessian(lambda image: model(image)[-1].tanh().sum())(x)
    hessian = hessian.reshape(x.numel(), x.numel())
    torch.testing.assert_close(hessian, hessian.T)
    assert hessian.abs().max() > 1e-3
    assert torch.autograd.gradcheck(model, x.requires_grad_(), fast_mode=True)
    assert torch.autograd.gradgradcheck(model, x, fast_mode=True)


def test_samples_are_dropped_under_vmap_as_torch_is_told():
    model = make(drop_path_rate=0.9)
    x = torch.randn(1, 3, 32, 32).expand(8, 1, 3, 32, 32)
    with pytest.raises(RuntimeError, match='random operation while in randomness error mode'):
        torch.func.vmap(model)(x)
    for randomness, equal in [('same', True), ('different', False)]:
        last = torch.func.vmap(model, randomness=randomness)(x)[-1]
        assert all(torch.allclose(last[0], other, atol=1e-5) for other in last) == equal


# --- compilers ------------------------------------------------------------------------------------


def test_compiled_with_gradients():
    model = make('v2', layer_scale_init_value=1.0)  # the layers of both versions
    x = torch.randn(2, 3, 16, 16)
    results = []
    for net in (model, torch.compile(model, backend='aot_eager', fullgraph=True)):
        model.zero_grad()
        maps = net(x)
        sum(m.square().sum() for m in maps).backward()
        results.append([*(m.detach() for m in maps), *(p.grad.clone() for p in model.parameters())])
    assert_equal(*results, 1e-3)


def test_exported():
    model = make('v2').eval()
    program = torch.export.export(model, (torch.randn(1, 3, 32, 32),)).module()
    x = torch.randn(1, 3, 32, 32)
    assert_equal(run(program, x), run(model, x), 1e-5)
