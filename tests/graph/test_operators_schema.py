"""Names, attributes and defaults of our operators against ONNX's own schemas."""

from __future__ import annotations

import inspect

import onnx
import pytest
from onnx import helper

from orrery.graph import CANONICAL_OPSET, Node, find_operator
from orrery.graph._operator import OPERATORS

#: Values that are no tensors, and text: outside of what a graph of tensors can hold.
OUTSIDE = {
    "ConcatFromSequence", "ImageDecoder", "Optional", "OptionalGetElement", "OptionalHasElement",
    "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence", "StringConcat",
    "StringNormalizer", "StringSplit",
}  # fmt: skip
#: ONNX repeats this default for each direction; ours says so with None.
OTHERWISE_DEFAULT = {("RNN", "activations")}


def schemas():
    names = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and schema.since_version <= CANONICAL_OPSET
    }
    found = {name: onnx.defs.get_schema(name, CANONICAL_OPSET) for name in names}
    return {name: schema for name, schema in found.items() if not schema.deprecated}


def ours():
    find_operator(Node(name="any", op="Add", inputs=(), outputs=()))  # registers all
    return {name: operator for (domain, name), operator in OPERATORS.items() if not domain}


def test_all_tensor_operators_of_onnx_are_known():
    assert schemas().keys() - ours().keys() == OUTSIDE
    assert not ours().keys() - schemas().keys()


@pytest.mark.parametrize("name", sorted(schemas().keys() - OUTSIDE))
def test_attributes_and_defaults_are_onnxs(name):
    schema, operator = schemas()[name], ours()[name]
    assert schema.attributes.keys() <= operator.attributes.keys()
    for attribute, definition in schema.attributes.items():
        if not definition.default_value.type or (name, attribute) in OTHERWISE_DEFAULT:
            continue
        default = helper.get_attribute_value(definition.default_value)
        mine = operator.attributes[attribute]
        if isinstance(default, float):
            assert mine == pytest.approx(default, rel=1e-6), attribute
        elif isinstance(default, list):
            assert tuple(mine) == tuple(default), attribute
        else:
            assert mine == (default.decode() if isinstance(default, bytes) else default), attribute


@pytest.mark.parametrize("name", sorted(schemas().keys() - OUTSIDE))
def test_the_reference_takes_as_many_inputs_as_onnx_allows(name):
    schema, operator = schemas()[name], ours()[name]
    kinds = [p.kind for p in inspect.signature(operator.evaluate).parameters.values()]
    places = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    variadic = inspect.Parameter.VAR_POSITIONAL in kinds
    assert variadic or places == len(schema.inputs)
