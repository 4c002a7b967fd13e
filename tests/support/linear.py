"""The smallest models that keep the contract; in a module of their own, which a fresh process can import."""

from dataclasses import dataclass

from torch import nn

from vtk_cli.api.inputs import IMAGENET, Augment, FeatureSpec, InputSpec, Stream, View
from vtk_cli.api.sampling import first, segments

SEGMENTS, FRAMES, WIDTH = 3, 2, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    crop: int = 8


class Linear(nn.Module):
    def __init__(self, config, num_classes):
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(SEGMENTS * FRAMES * 3 * config.crop**2, num_classes)

    def forward(self, clip_BTNCHW):
        return self.fc(self.flatten(clip_BTNCHW))


class LinearOnFeatures(nn.Module):
    def __init__(self, config, num_classes):
        super().__init__()
        self.hidden = nn.Linear(WIDTH, 1024)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, feature_BFD, mask_BF):
        weight_BF = mask_BF / mask_BF.sum(1, keepdim=True)
        mean_BD = (feature_BFD * weight_BF[..., None]).sum(1)
        return self.fc(self.hidden(mean_BD).relu())


def inputs(config):
    view = View(segments=SEGMENTS, frames=FRAMES, short_side=config.crop, crop=config.crop, sampler=segments)
    return InputSpec(modality="rgb", train=view, test=view, norm=IMAGENET, augment=Augment(crop="centre"))


def feature_inputs(config):
    return FeatureSpec(streams=(Stream(name="rgb", size=8), Stream(name="audio", size=4)), frames=6, sampler=first)
