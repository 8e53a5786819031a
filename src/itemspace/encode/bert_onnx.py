"""A BERT model as an ONNX graph, made from its weights, in float32 or with int8 products; run by onnxruntime (extra `onnx`)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.extras import require
from itemspace.encode.text_models import TokenModel, bert_shape
from itemspace.encode.token_batches import TextTokens

if TYPE_CHECKING:
    from itemspace.nn.bert import BertShape

_NEEDED_FOR = 'backend="onnx"'


class _Graph:
    """Nodes and weights in the order they are added; every node's one output is its name."""

    def __init__(self) -> None:
        self.onnx = require("onnx", extra="onnx", needed_for=_NEEDED_FOR)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def hold(self, name: str, values: np.ndarray) -> str:
        self.weights.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def model(self, output: str, size: int) -> Any:
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        tokens, mask = (helper.make_tensor_value_info(n, k, ["texts", "width"]) for n, k in _inputs(kinds))
        made = helper.make_tensor_value_info(output, kinds.FLOAT, ["texts", size])
        graph = helper.make_graph(self.nodes, "bert", [tokens, mask], [made], self.weights)
        versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=8)


def _inputs(kinds: Any) -> list[tuple[str, Any]]:
    return [("tokens", kinds.INT64), ("mask", kinds.INT32)]


def bert_graph(weights: Mapping[str, np.ndarray], shape: BertShape, pooling: str) -> Any:
    """An `onnx.ModelProto`: tokens int64 and mask int32 [texts, width] to pooled states float32 [texts, size].

    weights: a BERT state dict. pooling: "mean" or "cls". Attention and the normalized residual sums are onnxruntime's own
    operators, which is what its optimizer would make of the plain ones.
    """
    graph = _Graph()

    def held(name: str, *, turned: bool = False) -> str:
        return graph.hold(name, weights[name].T if turned else weights[name])

    places = weights["embeddings.position_embeddings.weight"][shape.first_position :]
    graph.hold("places", (places + weights["embeddings.token_type_embeddings.weight"][0]).astype(np.float32))
    for name, number in (("zero", 0), ("one", 1)):
        graph.hold(name, np.array([number], np.int64))
    width = graph.add("Slice", graph.add("Shape", "tokens"), graph.hold("from", np.array([1], np.int64)),
                      graph.hold("to", np.array([2], np.int64)))  # fmt: skip
    words = graph.add("Gather", held("embeddings.word_embeddings.weight"), "tokens")
    x = graph.add("Add", words, graph.add("Slice", "places", "zero", width))
    norm = "embeddings.LayerNorm"
    x = graph.add(
        "LayerNormalization", x, held(f"{norm}.weight"), held(f"{norm}.bias"), epsilon=shape.norm_epsilon, axis=-1
    )

    def summed(x: str, made: str, norm: str, bias: str) -> str:
        given = (x, made, held(f"{norm}.weight"), held(f"{norm}.bias"), held(bias))
        return graph.add("SkipLayerNormalization", *given, domain="com.microsoft", epsilon=shape.norm_epsilon)

    for number in range(shape.num_layers):
        at = f"encoder.layer.{number}"
        parts = [f"{at}.attention.self.{name}" for name in ("query", "key", "value")]
        mix = graph.hold(f"{at}.mix.weight", np.concatenate([weights[f"{p}.weight"].T for p in parts], axis=1))
        bias = graph.hold(f"{at}.mix.bias", np.concatenate([weights[f"{p}.bias"] for p in parts]))
        made = graph.add("Attention", x, mix, bias, "mask", domain="com.microsoft", num_heads=shape.num_heads)
        made = graph.add("MatMul", made, held(f"{at}.attention.output.dense.weight", turned=True))
        x = summed(x, made, f"{at}.attention.output.LayerNorm", f"{at}.attention.output.dense.bias")
        made = graph.add("MatMul", x, held(f"{at}.intermediate.dense.weight", turned=True))
        made = graph.add("BiasGelu", made, held(f"{at}.intermediate.dense.bias"), domain="com.microsoft")
        made = graph.add("MatMul", made, held(f"{at}.output.dense.weight", turned=True))
        x = summed(x, made, f"{at}.output.LayerNorm", f"{at}.output.dense.bias")
    return graph.model(_pooled(graph, x, pooling), places.shape[1])


def _pooled(graph: _Graph, states: str, pooling: str) -> str:
    if pooling == "cls":
        return graph.add("Squeeze", graph.add("Slice", states, "zero", "one", "one"), "one")
    counted = graph.add("Unsqueeze", graph.add("Cast", "mask", to=graph.onnx.TensorProto.FLOAT), "one")
    summed = graph.add("Squeeze", graph.add("MatMul", counted, states), "one")
    count = graph.add("ReduceSum", counted, graph.hold("last", np.array([2], np.int64)), keepdims=0)
    return graph.add("Div", summed, count)


def quantized(model: Any) -> bytes:
    """The graph with int8 products: weights per column, inputs per tensor as they come ("dynamic"). Lookups stay float32."""
    onnx = require("onnx", extra="onnx", needed_for=_NEEDED_FOR)
    tools = require("onnxruntime.quantization", extra="onnx", needed_for=_NEEDED_FOR)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        tools.quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul", "Attention"],
            per_channel=True,
            weight_type=tools.QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT, "MatMulConstBOnly": True},
        )
        return path.read_bytes()


class OnnxModel(TokenModel):
    """An ONNX graph of `bert_graph` in an onnxruntime session with as many threads as the process may use."""

    kind = "onnxruntime"

    def __init__(self, graph: bytes, tokens: TextTokens, pad: int, budget: int, *, precision: str) -> None:
        super().__init__(tokens, pad, budget)
        runtime = require("onnxruntime", extra="onnx", needed_for=_NEEDED_FOR)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = _threads()
        options.log_severity_level = 3
        self.precision = precision
        self._session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._output = self._session.get_outputs()[0].name

    def forward(self, ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        seen = np.ones(ids.shape, np.int32) if mask is None else mask.astype(np.int32)
        made: np.ndarray = self._session.run([self._output], {"tokens": ids, "mask": seen})[0]
        return made


def _threads() -> int:
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else len(os.sched_getaffinity(0))


def onnx_model(model: Any, *, int8: bool, budget: int) -> OnnxModel:
    """A sentence-transformers model of BERT's kind with mean or CLS pooling, in onnxruntime.

    Raises:
        ContractError: the model is another one.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    shape = bert_shape(model)
    pooling = getattr(model[1], "pooling_mode", None) if len(model) > 1 else None
    rest = [type(module).__name__ for module in list(model)[2:]]
    if shape is None or pooling not in ("mean", "cls") or any(name != "Normalize" for name in rest):
        raise ContractError(
            'backend="onnx" runs models of BERT\'s kind with mean or CLS pooling and nothing after it; '
            'this one needs backend="torch".'
        )
    weights = {name: tensor.float().cpu().numpy() for name, tensor in model[0].model.state_dict().items()}
    graph = bert_graph(weights, shape, pooling)
    limit = len(weights["embeddings.position_embeddings.weight"]) - shape.first_position
    tokens = TextTokens(model.tokenizer.backend_tokenizer, min(model.max_seq_length or limit, limit))
    made = quantized(graph) if int8 else graph.SerializeToString()
    return OnnxModel(made, tokens, model.tokenizer.pad_token_id or 0, budget, precision="int8" if int8 else "float32")
