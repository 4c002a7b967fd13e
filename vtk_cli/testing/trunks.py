"""What every trunk must do, as a test class; used as `vtk_cli.testing.models` says."""

import torch
from torch import nn

from vtk_cli.api.models import TrunkSpec
from vtk_cli.testing.contract import Contract, refusal


class TrunkTests(Contract):
    """The contract of `vtk.trunks`."""

    spec: TrunkSpec

    def test_spec_says_what_it_is(self) -> None:
        assert isinstance(self.spec, TrunkSpec), f"expected a TrunkSpec, found {type(self.spec).__name__}"
        assert len(self.spec.norm.mean) == 3, "norm is for RGB pictures"
        for name, weights in self.spec.weights.items():
            assert weights.layout in self.spec.layouts, f"no layout reads the weights {name}"
            assert len(weights.sha256) >= 8, f"the digest of {name} has fewer than 8 hex digits"

    def test_forward_gives_features_of_its_width(self) -> None:
        with torch.device("meta"):
            trunk = self.spec.build(3).eval()
            feature_BD = trunk(torch.empty(2, 3, 224, 224))
        assert feature_BD.shape == (2, trunk.num_features), f"expected feature_BD of (2, {trunk.num_features})"

    def test_first_convolution_takes_any_number_of_channels(self) -> None:
        for in_channels in (3, 10):
            with torch.device("meta"):
                trunk = self.spec.build(in_channels)
            stem = trunk.get_submodule(str(trunk.stem_conv))
            assert isinstance(stem, nn.Conv2d), f"stem_conv names a {type(stem).__name__}, not a Conv2d"
            assert stem.in_channels == in_channels
            first = next(module for module in trunk.modules() if isinstance(module, nn.Conv2d))
            assert stem is first, "stem_conv is the first convolution"

    def test_layouts_refuse_what_is_not_theirs(self) -> None:
        for name, layout in self.spec.layouts.items():
            for garbage in ({}, {"no.such.tensor": torch.zeros(1)}):
                message = refusal(layout, garbage)
                assert message, f'the layout "{name}" takes {garbage} without a CheckpointError'
                assert all(key in message for key in garbage), f"the message names no unexpected tensor: {message}"
