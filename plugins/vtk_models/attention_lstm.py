"""Attention LSTM, as PaddlePaddle/models release/1.8 attention_lstm and PaddleVideo's AttentionLstmHead build it.

A bidirectional LSTM reads each stream; learnt weights, that add up to 1 over a video's real frames, pool its states.

    x_BFD -> embed tanh -> LSTM both ways -> dropout -> state_BF(2H) -> sum of softmax(attention) x state -> B(2H)
    all streams' -> fc1 ReLU -> fc2 tanh -> fc -> logits_BK

The library names "Beyond Short Snippets" (Ng et al., CVPR 2015) as its paper, whose network is another: two layers, one
direction, no attention. The original's LSTM has peepholes, PaddleVideo's has none.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.api.models import Layout, ModelSpec, StateDict, Weights
from vtk_cli.api.recipes import ParamGroup, TrainRecipe
from vtk_cli.api.sampling import first
from vtk_models import fluid, sequence
from vtk_models.layouts import convert
from vtk_models.peephole_lstm import BidirectionalLSTM, run_side_by_side


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionLSTMConfig:
    streams: tuple[str, ...] = sequence.YOUTUBE8M
    """name:size of each kind of feature, as the feature store keeps them."""
    frames: int = 300
    """A longer video is cut; PaddleVideo takes 512."""
    embedding: int = 512
    """Width of the layer before the LSTM."""
    lstm: int = 1024
    """H, units of the LSTM in each direction."""
    peepholes: bool = True
    """Gates see the cell state (Paddle's fluid); without: PaddleVideo's."""
    hidden: tuple[int, int] = (8192, 4096)
    """Widths of the two layers before the classifier."""
    dropout: float = 0.5
    """Of the LSTM's states, before attention and pooling."""

    def __post_init__(self) -> None:
        sequence.parse_streams(self.streams)
        sequence.check_sizes(embedding=self.embedding, lstm=self.lstm, hidden=min(self.hidden))
        sequence.check_dropout(self.dropout)


class AttentionStream(nn.Module):
    """What belongs to one stream; `AttentionLSTM` runs the LSTMs of all streams at once."""

    def __init__(self, size: int, config: AttentionLSTMConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(size, config.embedding)
        self.lstm = BidirectionalLSTM(config.embedding, config.lstm, peepholes=config.peepholes)
        self.attention = nn.Linear(2 * config.lstm, 1)

    def pool(self, state_BFH: Tensor, mask_BF: Tensor) -> Tensor:
        """state_BF(2H) after dropout -> pooled_B(2H)."""
        weight_BF1 = sequence.softmax_over_frames(self.attention(state_BFH), mask_BF)
        return (weight_BF1.transpose(1, 2) @ state_BFH.to(weight_BF1.dtype)).squeeze(1)


class AttentionLSTM(nn.Module):
    """forward(feature_BFD, mask_BF) -> logits_BK; a video's frames come first in its row, as `mask_BF` says."""

    def __init__(self, config: AttentionLSTMConfig, num_classes: int) -> None:
        super().__init__()
        self.sizes = [stream.size for stream in sequence.parse_streams(config.streams)]
        self.streams = nn.ModuleList(AttentionStream(size, config) for size in self.sizes)
        self.dropout = nn.Dropout(config.dropout)
        self.fc1 = nn.Linear(2 * config.lstm * len(self.sizes), config.hidden[0])
        self.fc2 = nn.Linear(*config.hidden)
        self.fc = nn.Linear(config.hidden[1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, feature_BFD: Tensor, mask_BF: Tensor) -> Tensor:
        parts = sequence.split_streams(feature_BFD, mask_BF, self.sizes)
        embedded = [stream.embed(part).tanh() for stream, part in zip(self._streams(), parts, strict=True)]
        states = run_side_by_side([stream.lstm for stream in self._streams()], embedded, mask_BF)
        pooled = [stream.pool(self.dropout(x), mask_BF) for stream, x in zip(self._streams(), states, strict=True)]
        hidden = functional.relu(self.fc1(torch.cat(pooled, dim=1)))
        logits_BK: Tensor = self.fc(self.fc2(hidden).tanh())
        return logits_BK

    def _streams(self) -> list[AttentionStream]:
        return [stream for stream in self.streams if isinstance(stream, AttentionStream)]


def param_groups(module: nn.Module) -> list[ParamGroup]:
    """fluid's: the biases of fully connected layers do not decay, the LSTM's own biases and peepholes do.

    An LSTM's projection of its input is such a layer there, hence `bias_ih`.
    """
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    still = {name for name in names if name.endswith(".bias") or ".bias_ih_" in name}
    return [
        ParamGroup(name="weight", params=tuple(name for name in names if name not in still)),
        ParamGroup(name="bias", params=tuple(name for name in names if name in still), decay_mult=0.0),
    ]


def inputs(config: AttentionLSTMConfig) -> FeatureSpec:
    return FeatureSpec(streams=sequence.parse_streams(config.streams), frames=config.frames, sampler=first)


STREAM_LAYERS = ("embed", "lstm.{}_ih_l0", "lstm.{}_ih_l0_reverse", "attention")
"""A stream's four fully connected layers in fluid's order."""

LAST_LAYERS = ("fc1", "fc2", "fc")

DYGRAPH = {"fc_out1": "fc1", "fc_out2": "fc2", "fc_logit": "fc"}
DYGRAPH_STREAM = {"fc_feature": "embed", "att_fc": "attention", "bi_lstm": "lstm"}
"""PaddleVideo's layers; those of a stream are followed by its number."""


def paddle_convert(checkpoint: StateDict) -> StateDict:
    """The released AttentionLSTM weights: fluid's, or PaddleVideo's, whose names begin with `head.`.

    fluid halves the states of its LSTMs when it evaluates; here what reads them is halved instead.

    Raises:
        CheckpointError: it holds other tensors, or lacks some.
    """
    tensors = sequence.paddle_tensors(checkpoint)
    return _from_dygraph(tensors) if _is_dygraph(tensors) else _from_fluid(tensors)


def paddle_infer(checkpoint: StateDict) -> Mapping[str, Any]:
    """Streams, widths and peepholes, from names and shapes."""
    tensors = sequence.paddle_tensors(checkpoint)
    dygraph = _is_dygraph(tensors)
    rename = _dygraph_name if dygraph else _fluid_names(tensors)
    shapes = {ours: tuple(tensor.shape) for name, tensor in tensors.items() if (ours := rename(name))}
    places = range(sum(name.endswith(".embed.weight") for name in shapes))
    needed = ("fc1.bias", "fc2.bias", "streams.0.embed.bias", "streams.0.lstm.weight_hh_l0")
    if not places or any(name not in shapes for name in needed):
        return {}
    return {
        "streams": sequence.stream_names([shapes[f"streams.{place}.embed.weight"][0] for place in places]),
        "embedding": shapes["streams.0.embed.bias"][0],
        "lstm": min(shapes["streams.0.lstm.weight_hh_l0"]),
        "peepholes": not dygraph,
        "hidden": (shapes["fc1.bias"][0], shapes["fc2.bias"][0]),
    }


def _is_dygraph(tensors: StateDict) -> bool:
    return any(name.startswith("head.") for name in tensors)


def _from_dygraph(tensors: StateDict) -> StateDict:
    places = range(max(1, sum(name.startswith("head.fc_feature") for name in tensors) // 2))
    required = {}
    for ours, theirs in {ours: theirs for theirs, ours in DYGRAPH.items()}.items():
        required.update({f"{ours}.{part}": f"head.{theirs}.{part}" for part in ("weight", "bias")})
    for place in places:
        for theirs, ours in DYGRAPH_STREAM.items():
            parts = _lstm_parts() if ours == "lstm" else ["weight", "bias"]
            required.update({f"streams.{place}.{ours}.{part}": f"head.{theirs}{place}.{part}" for part in parts})
    state = convert(tensors, layout="paddle", rename=_dygraph_name, required=required)
    # Paddle's linear layers are [in, out]; its LSTM's matrices are as torch's.
    return {name: tensor if ".lstm." in name or tensor.dim() < 2 else tensor.t() for name, tensor in state.items()}


def _lstm_parts() -> list[str]:
    return [
        f"{kind}_{side}{way}" for kind in ("weight", "bias") for side in ("ih", "hh") for way in ("_l0", "_l0_reverse")
    ]


def _dygraph_name(name: str) -> str | None:
    """A file holds each of the LSTM's tensors twice: as weight_ih_l0 and as 0.cell_fw.weight_ih."""
    name = re.sub(r"\.0\.cell_fw\.(\w+)$", r".\1_l0", name)
    name = re.sub(r"\.0\.cell_bw\.(\w+)$", r".\1_l0_reverse", name)
    if found := re.fullmatch(r"head\.(fc_out1|fc_out2|fc_logit)\.(weight|bias)", name):
        return f"{DYGRAPH[found[1]]}.{found[2]}"
    if not (found := re.fullmatch(r"head\.(fc_feature|att_fc|bi_lstm)(\d+)\.(\w+)", name)):
        return None
    ours = DYGRAPH_STREAM[found[1]]
    known = _lstm_parts() if ours == "lstm" else ["weight", "bias"]
    return f"streams.{found[2]}.{ours}.{found[3]}" if found[3] in known else None


def _from_fluid(tensors: StateDict) -> StateDict:
    num_streams = max(1, len(fluid.number_in_order(list(tensors), "lstm")) // 2)
    required = {}
    for place in range(num_streams):
        for number, layer in enumerate(STREAM_LAYERS):
            for part, kind in fluid.DENSE.items():
                required[_layer_part(f"streams.{place}.{layer}", kind)] = f"fc_{4 * place + number}.{part}"
        for number, way in enumerate(("_l0", "_l0_reverse")):
            for part, kind in fluid.DENSE.items():
                required[f"streams.{place}.lstm.{kind}_hh{way}"] = f"lstm_{2 * place + number}.{part}"
    for number, layer in enumerate(LAST_LAYERS):
        required.update(
            {f"{layer}.{kind}": f"fc_{4 * num_streams + number}.{part}" for part, kind in fluid.DENSE.items()}
        )
    state = convert(tensors, layout="paddle", rename=_fluid_names(tensors), required=required)
    return _reorder({name: tensor.t() if ".weight" in name else tensor.flatten() for name, tensor in state.items()})


def _fluid_names(tensors: StateDict) -> Callable[[str], str | None]:
    """Fluid numbers the layers of one kind from the input on: streams first, four fully connected layers each."""
    lstms = fluid.number_in_order(list(tensors), "lstm")
    layers = [f"streams.{place}.{layer}" for place in range(len(lstms) // 2) for layer in STREAM_LAYERS]
    layers += LAST_LAYERS
    dense = {
        name: layers[place] for name, place in fluid.number_in_order(list(tensors), "fc").items() if place < len(layers)
    }

    def rename(name: str) -> str | None:
        layer, _, part = name.rpartition(".")
        if part not in fluid.DENSE:
            return None
        if layer in lstms:
            way = "_l0_reverse" if lstms[layer] % 2 else "_l0"
            return f"streams.{lstms[layer] // 2}.lstm.{fluid.DENSE[part]}_hh{way}"
        return _layer_part(dense[layer], fluid.DENSE[part]) if layer in dense else None

    return rename


def _layer_part(layer: str, kind: str) -> str:
    """An LSTM's projections are part of it here: lstm.weight_ih_l0."""
    return layer.format(kind) if "{}" in layer else f"{layer}.{kind}"


def _reorder(state: StateDict) -> StateDict:
    """Fluid's gates are candidate, input, forget, output; its LSTM's bias holds the peepholes behind the biases."""
    ordered: StateDict = {}
    for name, tensor in state.items():
        if ".lstm." not in name:
            ordered[name] = tensor
            continue
        hidden = tensor.shape[0] // (7 if ".bias_hh" in name else 4)
        candidate, into, forget, out = tensor[: 4 * hidden].chunk(4)
        ordered[name] = torch.cat((into, forget, candidate, out))
        if ".bias_hh" in name:
            ordered[name.replace("bias_hh", "peephole")] = tensor[4 * hidden :].reshape(3, hidden)
    for name in ordered:
        if name.endswith("attention.weight") or name == "fc1.weight":
            ordered[name] = ordered[name] * sequence.FLUID_KEPT
    return {name: tensor.contiguous() for name, tensor in ordered.items()}


ACCURACY = {"hit1": 88.85, "perr": 80.12, "gap": 85.94}

MODEL = ModelSpec(
    config=AttentionLSTMConfig,
    inputs=inputs,
    build=AttentionLSTM,
    # configs/attention_lstm.yaml: 8 GPUs of 128 videos. Its epoch is 5,000,000 videos long, whatever the data's is.
    recipe=TrainRecipe(
        epochs=10,
        batch_size=1024,
        micro_batch=128,
        optimizer="rmsprop",
        lr=1e-3,
        momentum=0.0,
        weight_decay=8e-4,
        milestones=(5,),
        loss="binary_cross_entropy",
        reduction="sum",
        param_groups=param_groups,
    ),
    weights={
        "youtube8m": Weights(
            url=f"{sequence.PADDLE_URL}AttentionLSTM.pdparams",
            layout="paddle",
            licence="Apache-2.0",
            accuracy=ACCURACY,
            protocol="YouTube-8M (2018) validation, all of at most 300 frames, rgb and audio",
            source=sequence.PADDLE_SOURCE.format("attention_lstm"),
        ),
        "youtube8m-paddlevideo": Weights(
            url="https://videotag.bj.bcebos.com/PaddleVideo-release2.2/AttentionLSTM_yt8.pdparams",
            config={"peepholes": False, "frames": 512},
            layout="paddle",
            licence="Apache-2.0",
            accuracy={"hit1": 89.05, "perr": 80.49, "gap": 86.30},
            protocol="YouTube-8M (2018) validation, all frames, rgb and audio",
            source="PaddlePaddle/PaddleVideo docs/en/model_zoo/recognition/attention_lstm.md",
        ),
    },
    layouts={"paddle": Layout(convert=paddle_convert, infer=paddle_infer)},
    tiny=AttentionLSTMConfig(streams=("rgb:24", "audio:8"), frames=6, embedding=16, lstm=16, hidden=(64, 128)),
    summary="a bidirectional LSTM per stream of frame features, pooled by attention; with peepholes or without",
    paper="PaddlePaddle/models AttentionLSTM; after Ng et al., Beyond Short Snippets, CVPR 2015 (arXiv 1503.08909)",
)
