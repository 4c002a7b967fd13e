"""NeXtVLAD in plain numpy and float64, loop by loop, from the paper's section 3 and the facts about both originals."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


class Network:
    """The formulas on the arrays of a state dict; `training` takes batch norms' statistics from the batch."""

    def __init__(self, state, *, dialect, training=False):
        self.state = {name: np.asarray(array, np.float64) for name, array in state.items()}
        self.dialect, self.training = dialect, training
        self.eps = 1e-5 if dialect == "paddle" else 1e-3

    def norm(self, name, x_NC):
        mean, var = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        if self.training:
            mean, var = x_NC.mean(0), x_NC.var(0)
        return (x_NC - mean) / np.sqrt(var + self.eps) * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def vlad(self, name, videos, groups, real):
        """`videos` holds x_FD of each, `real` how many of its frames count."""

        def get(part):
            return self.state[f"{name}.{part}"]

        wide = [x @ get("expand.weight").T + get("expand.bias") for x in videos]
        centres_KE = get("centres_KE")
        assigned = self.norm(f"{name}.assign_bn", np.concatenate([x @ get("assign.weight").T for x in wide]))
        rows, at = [], 0
        for x_FW, count in zip(wide, real, strict=True):
            vlad_KE = np.zeros_like(centres_KE)
            for frame in range(count):
                gate_G = sigmoid(get("attention.weight") @ x_FW[frame] + get("attention.bias"))
                weight_GK = softmax(assigned[at + frame].reshape(groups, -1)) * gate_G[:, None]
                x_GE = x_FW[frame].reshape(groups, -1)
                for group in range(groups):
                    for cluster, centre_E in enumerate(centres_KE):
                        vlad_KE[cluster] += weight_GK[group, cluster] * (x_GE[group] - centre_E)
            at += len(x_FW)
            square_K = (vlad_KE**2).sum(1)
            square_K = square_K + 1e-12 if self.dialect == "paddle" else np.maximum(square_K, 1e-12)
            rows.append((vlad_KE / np.sqrt(square_K)[:, None]).T.reshape(-1))  # E is the slow axis
        return self.norm(f"{name}.bn", np.stack(rows))

    def branch(self, name, streams, groups, real):
        """`streams` holds the videos of each stream; returns feature_BH (dropout left out)."""
        vlads = [
            self.vlad(f"{name}.streams.{place}", videos, groups[place], real) for place, videos in enumerate(streams)
        ]
        hidden = self.norm(f"{name}.hidden_bn", np.concatenate(vlads, 1) @ self.state[f"{name}.hidden.weight"].T)
        gate = np.maximum(self.norm(f"{name}.gate_bn", hidden @ self.state[f"{name}.gate1.weight"].T), 0)
        return hidden * sigmoid(gate @ self.state[f"{name}.gate2.weight"].T)

    def logistic(self, feature_BH):
        return feature_BH @ self.state["fc.weight"].T + self.state["fc.bias"]

    def experts(self, feature_BH, experts):
        """Probabilities of `MoeModel`."""
        gates = softmax((feature_BH @ self.state["fc.gates.weight"].T).reshape(len(feature_BH), -1, experts + 1))
        votes = feature_BH @ self.state["fc.experts.weight"].T + self.state["fc.experts.bias"]
        return (gates[..., :experts] * sigmoid(votes.reshape(*gates.shape[:2], experts))).sum(-1)

    def mixture(self, features_BNH, mean_BD):
        """The mixture's logits_BK and each network's logits_BNK."""
        weight_BN = softmax(self.norm("mix_bn", mean_BD) @ self.state["mix.weight"].T + self.state["mix.bias"])
        logits_BNK = np.stack(
            [
                features_BNH[:, n] @ self.state["fc.weight"][n].T + self.state["fc.bias"][n]
                for n in range(weight_BN.shape[1])
            ],
            axis=1,
        )
        return (weight_BN[..., None] * logits_BNK).sum(1), logits_BNK
