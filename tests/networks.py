"""The networks that are built in, by the names that space files have for them."""

from __future__ import annotations

from sltune.snn.deep import sew, vgg
from sltune.snn.network import nmnist_cnn, nmnist_mlp, nmnist_mlp2, slanimals

NETWORKS = {
    "slanimals": slanimals,
    "nmnist-cnn": nmnist_cnn,
    "nmnist-mlp": nmnist_mlp,
    "nmnist-mlp2": nmnist_mlp2,
}
DEEP = {"sew": sew, "vgg": vgg}
