"""The model `nonlocal` as a plugin: how it is trained and from what, whose weights it takes."""

from vtk_cli.api.models import ModelSpec, Pretrained, StateDict, trunk
from vtk_cli.api.recipes import TrainRecipe
from vtk_models.inflate import inflate
from vtk_models.nonlocal_layouts import LAYOUTS
from vtk_models.nonlocal_net import Nonlocal, NonlocalConfig, build_trunk, inputs
from vtk_models.nonlocal_weights import WEIGHTS
from vtk_models.slowfast_parts import param_groups

KINETICS_VIDEOS = 234_619
"""Training videos of Paddle's copy of Kinetics-400 (its README); the schedule below is stated in iterations."""

BATCH = 64


def epochs(iterations: int) -> float:
    """Of that copy: 150,000 iterations of 64 videos are 40.9 epochs."""
    return iterations * BATCH / KINETICS_VIDEOS


RECIPE = TrainRecipe(
    # configs/nonlocal.yaml; 8 GPUs with 8 clips each, whose batch norms see only those. Its code's velocity does not
    # contain the learning rate, so that Caffe2's SCALE_MOMENTUM has nothing to correct.
    epochs=120,
    batch_size=BATCH,
    micro_batch=8,
    lr=0.01,
    nesterov=True,
    weight_decay=1e-4,
    milestones=(epochs(150_000), epochs(300_000), epochs(400_000)),
    param_groups=param_groups,
)


def pretrained(config: NonlocalConfig) -> Pretrained | None:
    """An inflated ImageNet ResNet for the style caffe2 (section 4); PySlowFast trains from scratch.

    The originals' image networks were trained in Caffe2; torchvision's have the same layers.
    """
    if config.style != "caffe2" or config.width != 64:
        return None
    name = f"resnet{config.depth}"
    spec = trunk(name)

    def adapt(state: StateDict) -> StateDict:
        shapes = {key: tensor.shape for key, tensor in build_trunk(config).state_dict().items()}
        return {f"trunk.{key}": tensor for key, tensor in inflate(state, shapes).items()}

    return Pretrained(name=f"{name}-imagenet", weights=spec.weights["imagenet"], layouts=spec.layouts, adapt=adapt)


MODEL = ModelSpec(
    config=NonlocalConfig,
    inputs=inputs,
    build=Nonlocal,
    recipe=RECIPE,
    pretrained=pretrained,
    weights=WEIGHTS,
    layouts=LAYOUTS,
    tiny=NonlocalConfig(
        width=8,
        frames=4,
        stride=2,
        short_side=40,
        crop=32,
        test_clips=2,
        test_crops=1,
    ),
    summary="C2D and I3D with blocks in which every position of a clip looks at every other",
    paper="Wang et al., Non-local Neural Networks, CVPR 2018",
)
