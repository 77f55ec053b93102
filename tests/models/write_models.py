#!/usr/bin/env python3
"""Writes the models that tests and documents use, with seeded weights.

    write_models.py FOLDER [EXPECTED]

lenet5.onnx     LeNet-5 in shape (LeCun et al., 1998): two convolutions with pooling, three linear layers
bert_tiny.onnx  BERT-tiny in shape (Turc et al., 2019): 2 layers, 2 heads, hidden size 128; its
                vocabulary is cut to 512 and its positions to 64. Sequence length and batch are free.
chain.onnx      1,000 tiny nodes in a row, to measure what a node costs beside its work
MODEL.INPUT.pb  for the first two, inputs of a batch of three; what comes out of them in ONNX Runtime
                is kept in tests/models/expected, and written anew where that folder is named too

Only Python's own library is used, so that a build needs nothing else: the few messages of ONNX's
protobuf format are encoded here.
"""

import struct
import sys
from pathlib import Path

FLOAT, INT64 = 1, 7


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """One field: an int as a varint, text and bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, dims, values, dtype=FLOAT):
    raw = struct.pack(f"<{len(values)}{'f' if dtype == FLOAT else 'q'}", *values)
    return (b"".join(field(1, d) for d in dims) + field(2, dtype) + field(8, name) + field(9, raw))


def attribute(name, value):
    out = field(1, name)
    if isinstance(value, int):
        return out + field(3, value) + field(20, 2)
    if isinstance(value, float):
        return out + field(2, value) + field(20, 1)
    if isinstance(value, str):
        return out + field(4, value) + field(20, 3)
    return out + b"".join(field(8, v) for v in value) + field(20, 7)


def value_info(name, dims, dtype=FLOAT):
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, shape)))


class Random:
    """xorshift64*, so that every Python gives the same weights."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        x = self.state
        x ^= x >> 12
        x ^= x << 25 & (1 << 64) - 1
        x ^= x >> 27
        self.state = x
        return (x * 2685821657736338717 & (1 << 64) - 1) / 2**64 - 0.5


class Model:
    def __init__(self, name, seed, opset=17):
        self.name, self.opset, self.random = name, opset, Random(seed)
        self.nodes, self.initializers, self.count = [], [], 0

    def weights(self, name, dims, scale=None, values=None):
        total = 1
        for d in dims:
            total *= d
        if values is None:
            scale = scale if scale is not None else 2 / max(total // dims[-1], 1) ** 0.5
            values = [self.random.next() * scale for _ in range(total)]
        self.initializers.append(tensor(name, dims, values))
        return name

    def ints(self, name, values):
        self.initializers.append(tensor(name, [len(values)], values, INT64))
        return name

    def index(self, name, value):
        self.initializers.append(tensor(name, [], [value], INT64))
        return name

    def node(self, op, inputs, name=None, outputs=None, **attributes):
        self.count += 1
        name = name or f"{op.lower()}_{self.count}"
        outputs = outputs or [name + ":0"]
        self.nodes.append(b"".join(field(1, i) for i in inputs) +
                          b"".join(field(2, o) for o in outputs) + field(3, name) + field(4, op) +
                          b"".join(field(5, attribute(k, v)) for k, v in attributes.items()))
        return outputs[0]

    def write(self, folder, inputs, outputs):
        graph = (b"".join(field(1, n) for n in self.nodes) + field(2, self.name) +
                 b"".join(field(5, t) for t in self.initializers) +
                 b"".join(field(11, v) for v in inputs) + b"".join(field(12, v) for v in outputs))
        model = (field(1, 8) + field(2, "miniinfer write_models.py") + field(7, graph) +
                 field(8, field(1, "") + field(2, self.opset)))
        (Path(folder) / f"{self.name}.onnx").write_bytes(model)


def lenet5(folder):
    m = Model("lenet5", 5)
    x = "image"
    for i, (cin, cout, pads) in enumerate([(1, 6, [2] * 4), (6, 16, [0] * 4)], 1):
        x = m.node("Conv", [x, m.weights(f"conv{i}.weight", [cout, cin, 5, 5], 0.4),
                            m.weights(f"conv{i}.bias", [cout], 0.1)], f"conv{i}",
                   kernel_shape=[5, 5], pads=pads)
        x = m.node("Tanh", [x], f"tanh{i}")
        x = m.node("AveragePool", [x], f"pool{i}", kernel_shape=[2, 2], strides=[2, 2])
    x = m.node("Flatten", [x], "flatten")
    for i, (n_in, n_out) in enumerate([(400, 120), (120, 84), (84, 10)], 1):
        x = m.node("Gemm", [x, m.weights(f"linear{i}.weight", [n_out, n_in], 0.3),
                            m.weights(f"linear{i}.bias", [n_out], 0.1)], f"linear{i}", transB=1)
        if i < 3:
            x = m.node("Tanh", [x], f"tanh{i + 2}")
    m.node("Softmax", [x], "softmax", ["scores"], axis=1)
    m.write(folder, [value_info("image", ["N", 1, 28, 28])], [value_info("scores", ["N", 10])])


def bert_tiny(folder, layers=2, hidden=128, heads=2, vocabulary=512, positions=64):
    m = Model("bert_tiny", 7)
    size = hidden // heads
    zero, one = m.ints("zero", [0]), m.ints("one", [1])

    def linear(x, name, n_in, n_out):
        y = m.node("MatMul", [x, m.weights(f"{name}.weight", [n_in, n_out], 0.2)], f"{name}.matmul")
        return m.node("Add", [y, m.weights(f"{name}.bias", [n_out], 0.1)], f"{name}.add")

    def norm(x, name):
        ones = m.weights(f"{name}.scale", [hidden], values=[1.0] * hidden)
        return m.node("LayerNormalization", [x, ones, m.weights(f"{name}.bias", [hidden], 0.1)], name,
                      axis=-1, epsilon=1e-12)

    def split_heads(x, name, perm):
        shape = m.ints(f"{name}.shape", [0, 0, heads, size])
        return m.node("Transpose", [m.node("Reshape", [x, shape], f"{name}.reshape")],
                      f"{name}.transpose", perm=perm)

    words = m.node("Gather", [m.weights("words", [vocabulary, hidden], 1.0), "input_ids"], "embed")
    shape = m.node("Shape", ["input_ids"], "shape")
    length = m.node("Slice", [shape, one, m.ints("two", [2]), zero], "length")
    places = m.node("Slice", [m.weights("positions", [positions, hidden], 0.5), zero, length, zero],
                    "places")
    x = norm(m.node("Add", [words, places], "embeddings"), "embeddings.norm")
    mask = m.node("Cast", [m.node("Unsqueeze", ["attention_mask", m.ints("axes", [1, 2])], "mask4")],
                  "mask.cast", to=FLOAT)
    mask = m.node("Mul", [m.node("Sub", [m.weights("unit", [1], values=[1.0]), mask], "mask.sub"),
                          m.weights("minus", [1], values=[-10000.0])], "mask.mul")
    for i in range(layers):
        p = f"layer{i}"
        q = split_heads(linear(x, f"{p}.query", hidden, hidden), f"{p}.query", [0, 2, 1, 3])
        k = split_heads(linear(x, f"{p}.key", hidden, hidden), f"{p}.key", [0, 2, 3, 1])
        v = split_heads(linear(x, f"{p}.value", hidden, hidden), f"{p}.value", [0, 2, 1, 3])
        scores = m.node("Div", [m.node("MatMul", [q, k], f"{p}.scores"),
                                m.weights(f"{p}.scale", [1], values=[size ** 0.5])], f"{p}.div")
        scores = m.node("Softmax", [m.node("Add", [scores, mask], f"{p}.mask")], f"{p}.softmax",
                        axis=-1)
        y = m.node("Transpose", [m.node("MatMul", [scores, v], f"{p}.context")], f"{p}.back",
                   perm=[0, 2, 1, 3])
        y = m.node("Reshape", [y, m.ints(f"{p}.merge", [0, 0, hidden])], f"{p}.merged")
        x = norm(m.node("Add", [linear(y, f"{p}.out", hidden, hidden), x], f"{p}.residual"),
                 f"{p}.norm1")
        y = linear(x, f"{p}.up", hidden, 4 * hidden)
        half = m.weights(f"{p}.half", [1], values=[0.5])
        root = m.weights(f"{p}.root", [1], values=[2 ** 0.5])
        unit = m.weights(f"{p}.unit", [1], values=[1.0])
        e = m.node("Erf", [m.node("Div", [y, root], f"{p}.gelu.div")], f"{p}.gelu.erf")
        y = m.node("Mul", [m.node("Mul", [y, m.node("Add", [e, unit], f"{p}.gelu.add")],
                                  f"{p}.gelu.mul"), half], f"{p}.gelu.half")
        x = norm(m.node("Add", [linear(y, f"{p}.down", 4 * hidden, hidden), x], f"{p}.residual2"),
                 f"{p}.norm2")
    m.node("Identity", [x], "last", ["hidden"])
    first = m.node("Gather", [x, m.index("first", 0)], "cls", axis=1)
    m.node("Tanh", [linear(first, "pooler", hidden, hidden)], "pooler.tanh", ["pooled"])
    m.write(folder, [value_info("input_ids", ["B", "S"], INT64),
                     value_info("attention_mask", ["B", "S"], INT64)],
            [value_info("hidden", ["B", "S", hidden]), value_info("pooled", ["B", hidden])])


def chain(folder, nodes=1000):
    m = Model("chain", 3)
    x = "x"
    for i in range(nodes):
        last = i == nodes - 1
        x = m.node("Relu" if i % 2 else "Neg", [x], f"n{i}", ["y"] if last else None)
    m.write(folder, [value_info("x", [4])], [value_info("y", [4])])


def inputs(folder, batch=3, length=9):
    random = Random(11)
    pixels = [random.next() for _ in range(batch * 28 * 28)]
    ids = [int((random.next() + 0.5) * 512) for _ in range(batch * length)]
    mask = [int(s < length - 2 * b) for b in range(batch) for s in range(length)]
    for name, dims, values, dtype in (
            ("lenet5.image", [batch, 1, 28, 28], pixels, FLOAT),
            ("bert_tiny.input_ids", [batch, length], ids, INT64),
            ("bert_tiny.attention_mask", [batch, length], mask, INT64)):
        (folder / f"{name}.pb").write_bytes(tensor(name.split(".")[1], dims, values, dtype))


def expect(folder, expected):
    import onnx
    import onnxruntime

    for model in ("lenet5", "bert_tiny"):
        session = onnxruntime.InferenceSession(folder / f"{model}.onnx",
                                               providers=["CPUExecutionProvider"])
        feeds = {i.name: onnx.numpy_helper.to_array(onnx.load_tensor(folder / f"{model}.{i.name}.pb"))
                 for i in session.get_inputs()}
        for output, value in zip(session.get_outputs(), session.run(None, feeds)):
            (expected / f"{model}.{output.name}.pb").write_bytes(
                tensor(output.name, list(value.shape), value.ravel().tolist()))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    lenet5(out)
    bert_tiny(out)
    chain(out)
    inputs(out)
    if len(sys.argv) > 2:
        expect(out, Path(sys.argv[2]))
