"""What every model on feature vectors must do; used by their unit tests."""

import warnings

import torch


def batch(spec, lengths, *, frames=None, seed=0):
    """feature_BFD, zero where a video has no frame, and mask_BF."""
    frames = frames or max(lengths)
    generator = torch.Generator().manual_seed(seed)
    feature_BFD = torch.randn(len(lengths), frames, spec.size, generator=generator)
    mask_BF = torch.arange(frames) < torch.tensor(lengths)[:, None]
    return feature_BFD * mask_BF[..., None], mask_BF


def build(spec, config, num_classes=5, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = spec.build(config, num_classes)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return module


def padding_does_not_matter(spec, config):
    """Neither how much of it there is, nor what stands in it, in evaluation."""
    model = build(spec, config).double().eval()
    feature, mask = batch(spec.inputs(config), [5, 1, 3])
    feature = feature.double()
    garbage = feature.clone()
    garbage[~mask] = torch.nan
    longer = torch.cat((garbage, torch.full((3, 4, feature.shape[2]), torch.inf)), dim=1)
    with torch.no_grad():
        logits = model(feature, mask)
        alone = model(feature[1:2, :1], mask[1:2, :1])
        padded = model(longer, torch.cat((mask, torch.zeros(3, 4, dtype=torch.bool)), dim=1))
    assert logits.shape == (3, 5)
    torch.testing.assert_close(padded, logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(alone, logits[1:2], rtol=1e-12, atol=1e-12)


def gradients_reach_everything(spec, config, dtype=torch.float32):
    """Finite ones, with NaN in the padding too."""
    model = build(spec, config).train()
    feature, mask = batch(spec.inputs(config), [5, 2, 3])
    feature[~mask] = torch.nan
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = model(feature, mask)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), torch.eye(5)[:3])
    if spec.extra_loss is not None:
        loss = loss + spec.extra_loss(model, logits, torch.eye(5)[:3])
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    still = [n for n, p in model.named_parameters() if not p.grad.any() and not zero_by_design(n)]
    assert still == [], "nothing reaches these"


def zero_by_design(name):
    """Adding one number to the scores of all frames changes no softmax."""
    return name.endswith(("attention.bias", "score.bias"))


def exports(spec, config):
    """The program's logits equal the module's."""
    model = build(spec, config).eval()
    feature, mask = batch(spec.inputs(config), [config.frames, 2])
    program = torch.export.export(model, (feature, mask))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(feature, mask), model(feature, mask))


def compiles_whole(spec, config):
    """In training, without a graph break."""
    model = build(spec, config).train()
    feature, mask = batch(spec.inputs(config), [config.frames, 2])
    torch._dynamo.reset()
    with warnings.catch_warnings():
        # torch's tracer makes an instance of torch.autograd.Function and warns of it.
        warnings.filterwarnings("ignore", ".*should not be instantiated", DeprecationWarning)
        explained = torch._dynamo.explain(model)(feature, mask)
    assert explained.graph_break_count == 0


def is_drawn_with(spec, config, expected):
    """Standard deviations of the initial weights, by name."""
    state = build(spec, config).state_dict()
    found = {name: state[name].std().item() for name in expected}
    for name, std in expected.items():
        assert abs(found[name] - std) <= 0.1 * std, f"{name}: {found[name]}, expected {std}"
