#!/usr/bin/env python3
"""Trains the digits classifier of examples/digits and writes it with its samples.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy scikit-learn onnx onnxruntime
    /tmp/venv/bin/python tools/models/train_digits.py examples/digits

Data: the 1,797 handwritten 8x8 digits that come with scikit-learn (from the UCI repository, Alpaydin
and Kaynak, CC BY 4.0). The last 360 are held out: no training step sees them, and the samples that
the example scores are the first 20 of those, whatever the network makes of them.

Writes digits.onnx, samples.npz (for `miniinfer run --inputs`), and for the example images.pb and
labels.pb. Also prints the accuracy on all 360, and the outputs of ONNX Runtime for the samples go to
expected.npz.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

HELD_OUT = 360
SAMPLES = 20


def windows(x, stride):
    """3x3 windows of x [n, c, h, w] padded by 1, as [n, oh, ow, c * 9]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    view = view[:, :, ::stride, ::stride]
    return view.transpose(0, 2, 3, 1, 4, 5).reshape(*[view.shape[i] for i in (0, 2, 3)], -1)


def windows_gradient(grad, shape, stride):
    n, c, h, w = shape
    grad = grad.reshape(*grad.shape[:3], c, 3, 3)
    padded = np.zeros((n, c, h + 2, w + 2), np.float32)
    for i in range(3):
        for j in range(3):
            padded[:, :, i:i + h:stride, j:j + w:stride] += grad[..., i, j].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


class Network:
    """conv 3x3 -> relu -> conv 3x3 stride 2 -> relu -> flatten -> linear -> softmax"""

    def __init__(self, rng):
        def weights(inputs, outputs):
            return (rng.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)).astype(np.float32)

        self.params = [weights(9, 16), np.zeros(16, np.float32), weights(144, 16),
                       np.zeros(16, np.float32), weights(256, 10), np.zeros(10, np.float32)]

    def forward(self, x):
        w1, b1, w2, b2, w3, b3 = self.params
        cols1 = windows(x, 1)
        act1 = np.maximum(cols1 @ w1 + b1, 0)
        cols2 = windows(act1.transpose(0, 3, 1, 2), 2)
        act2 = np.maximum(cols2 @ w2 + b2, 0)
        flat = act2.transpose(0, 3, 1, 2).reshape(len(x), -1)
        scores = flat @ w3 + b3
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return scores / scores.sum(1, keepdims=True), (cols1, act1, cols2, act2, flat)

    def gradients(self, x, labels):
        _, _, w2, _, w3, _ = self.params
        scores, (cols1, act1, cols2, act2, flat) = self.forward(x)
        grad = scores.copy()
        grad[np.arange(len(x)), labels] -= 1
        grad /= len(x)
        grads = [None, None, None, None, flat.T @ grad, grad.sum(0)]
        grad = (grad @ w3.T).reshape(len(x), 16, 4, 4).transpose(0, 2, 3, 1) * (act2 > 0)
        grads[2] = cols2.reshape(-1, 144).T @ grad.reshape(-1, 16)
        grads[3] = grad.sum((0, 1, 2))
        grad = windows_gradient(grad @ w2.T, (len(x), 16, 8, 8), 2).transpose(0, 2, 3, 1) * (act1 > 0)
        grads[0] = cols1.reshape(-1, 9).T @ grad.reshape(-1, 16)
        grads[1] = grad.sum((0, 1, 2))
        return grads


def train(x, y, rng, epochs=150, batch=32, rate=3e-3, decay=1e-3):
    """Adam, with every image moved by up to one pixel."""
    network = Network(rng)
    first = [np.zeros_like(p) for p in network.params]
    second = [np.zeros_like(p) for p in network.params]
    step = 0
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        for begin in range(0, len(x), batch):
            index = order[begin:begin + batch]
            dy, dx = rng.integers(-1, 2, 2)
            moved = np.pad(x[index], ((0, 0), (0, 0), (1, 1), (1, 1)))[:, :, 1 + dy:9 + dy, 1 + dx:9 + dx]
            grads = network.gradients(moved, y[index])
            step += 1
            scale = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
            for p, g, m, v in zip(network.params, grads, first, second):
                g = g + decay * p
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                p -= (scale * (m / (1 - 0.9**step)) /
                      (np.sqrt(v / (1 - 0.999**step)) + 1e-8)).astype(np.float32)
    return network


def export(network):
    w1, b1, w2, b2, w3, b3 = network.params
    initializers = {
        "conv1.weight": w1.T.reshape(16, 1, 3, 3), "conv1.bias": b1,
        "conv2.weight": w2.T.reshape(16, 16, 3, 3), "conv2.bias": b2,
        "linear.weight": w3.T, "linear.bias": b3,
    }
    conv = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"], "conv1", **conv),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "conv2.weight", "conv2.bias"], ["c2"], "conv2",
                         strides=[2, 2], **conv),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Flatten", ["r2"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "linear.weight", "linear.bias"], ["logits"], "linear",
                         transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"], "softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in initializers.items()])
    model = helper.make_model(graph, producer_name="miniinfer train_digits.py",
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main(folder):
    folder = Path(folder)
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    network = train(images[:-HELD_OUT], labels[:-HELD_OUT], np.random.default_rng(2026))

    model = export(network)
    onnx.save(model, folder / "digits.onnx")
    held_images, held_labels = images[-HELD_OUT:], labels[-HELD_OUT:]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    scores = session.run(None, {"image": held_images})[0]
    print(f"held out: {(scores.argmax(1) == held_labels).sum()} of {HELD_OUT} right; "
          f"samples: {(scores.argmax(1) == held_labels)[:SAMPLES].sum()} of {SAMPLES}")

    np.savez(folder / "samples.npz", image=held_images[:SAMPLES])
    np.savez(folder / "expected.npz", scores=scores[:SAMPLES])
    for name, array in (("images", held_images[:SAMPLES]), ("labels", held_labels[:SAMPLES]),
                        ("expected", scores[:SAMPLES])):
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        (folder / f"{name}.pb").write_bytes(tensor.SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1])
