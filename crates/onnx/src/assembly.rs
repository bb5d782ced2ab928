//! The parts of a file as they are put together: names, operators and constants.

use fmam_ops::{Attribute, Constant, Elements, Node, ValueId};

use crate::OnnxError;
use crate::proto::attribute_proto::AttributeType;
use crate::proto::tensor_proto::DataType;
use crate::proto::type_proto::{Tensor, Value};
use crate::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto,
};

/// A graph of the format that grows.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    pub(crate) graph: GraphProto,
}

/// The length of an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Axis {
    Fixed(usize),
    /// Any length, under a name.
    Any(&'static str),
}

impl Assembly {
    /// Adds an operator with settings; gives the name of its result, `output`.
    pub(crate) fn operator_with(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&'static str, Attribute)],
    ) -> String {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(output.to_owned()),
            op_type: Some(operator.to_owned()),
            attribute: attributes.iter().map(attribute).collect(),
            domain: None,
        });
        output.to_owned()
    }

    /// Adds an operator; gives the name of its result, `output`.
    pub(crate) fn operator(&mut self, operator: &str, inputs: &[&str], output: &str) -> String {
        self.operator_with(operator, inputs, output, &[])
    }

    /// Adds a constant number; gives its name.
    pub(crate) fn number(&mut self, name: &str, value: f32) -> String {
        self.constant(name, DataType::Float, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// Adds a constant whole number; gives its name.
    pub(crate) fn whole(&mut self, name: &str, value: i64) -> String {
        self.wholes(name, Vec::new(), &[value])
    }

    /// Adds a constant list of whole numbers; gives its name.
    pub(crate) fn list(&mut self, name: &str, values: &[i64]) -> String {
        self.wholes(name, vec![values.len() as i64], values)
    }

    /// Adds a constant column of whole numbers, `[values, 1]`; gives its name.
    pub(crate) fn column(&mut self, name: &str, values: &[i64]) -> String {
        self.wholes(name, vec![values.len() as i64, 1], values)
    }

    fn wholes(&mut self, name: &str, dims: Vec<i64>, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, dims, bytes)
    }

    fn constant(&mut self, name: &str, kind: DataType, dims: Vec<i64>, bytes: Vec<u8>) -> String {
        self.graph.initializer.push(TensorProto {
            dims,
            data_type: Some(kind as i32),
            name: Some(name.to_owned()),
            raw_data: Some(bytes),
        });
        name.to_owned()
    }

    /// Adds a constant of a trace.
    ///
    /// # Errors
    /// [`OnnxError::Constants`].
    pub(crate) fn traced_constant(&mut self, constant: &Constant) -> Result<(), OnnxError> {
        let name = value_name(constant.value);
        match &constant.elements {
            Elements::Ints(values) => {
                self.list(&name, values);
            }
            Elements::Float(tensor) => {
                let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
                let values = values.map_err(|error| OnnxError::Constants(error.into()))?;
                let dims = tensor.dims().iter().map(|&dim| dim as i64).collect();
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                self.constant(&name, DataType::Float, dims, bytes);
            }
        }
        Ok(())
    }

    /// Adds an operator of a trace, in which the value `input` has the name `pixels`.
    pub(crate) fn traced_node(&mut self, node: &Node, input: ValueId, pixels: &str) {
        let name = |value: &ValueId| if *value == input { pixels.to_owned() } else { value_name(*value) };
        let outputs: Vec<String> = node.outputs.iter().map(value_name_of).collect();
        self.graph.node.push(NodeProto {
            input: node.inputs.iter().map(name).collect(),
            name: outputs.last().cloned(),
            output: outputs,
            op_type: Some(node.operator.to_owned()),
            attribute: node.attributes.iter().map(attribute).collect(),
            domain: None,
        });
    }

    /// Adds an input.
    pub(crate) fn input(&mut self, name: &str, kind: DataType, axes: &[Axis], doc: &str) {
        self.graph.input.push(info(name, kind, axes, doc));
    }

    /// Adds an output.
    pub(crate) fn output(&mut self, name: &str, kind: DataType, axes: &[Axis], doc: &str) {
        self.graph.output.push(info(name, kind, axes, doc));
    }
}

/// The name of a value of a trace.
pub(crate) fn value_name(value: ValueId) -> String {
    format!("v{}", value.index())
}

fn value_name_of(value: &ValueId) -> String {
    value_name(*value)
}

fn attribute((name, value): &(&'static str, Attribute)) -> AttributeProto {
    let mut attribute = AttributeProto { name: Some((*name).to_owned()), ..AttributeProto::default() };
    let kind = match value {
        Attribute::Int(value) => {
            attribute.i = Some(*value);
            AttributeType::Int
        }
        Attribute::Ints(values) => {
            attribute.ints.clone_from(values);
            AttributeType::Ints
        }
    };
    attribute.r#type = Some(kind as i32);
    attribute
}

fn info(name: &str, kind: DataType, axes: &[Axis], doc: &str) -> ValueInfoProto {
    let dimension = |axis: &Axis| {
        let value = match *axis {
            Axis::Fixed(length) => tensor_shape_proto::dimension::Value::DimValue(length as i64),
            Axis::Any(name) => tensor_shape_proto::dimension::Value::DimParam(name.to_owned()),
        };
        tensor_shape_proto::Dimension { value: Some(value) }
    };
    let shape = TensorShapeProto { dim: axes.iter().map(dimension).collect() };
    let tensor = Tensor { elem_type: Some(kind as i32), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value: Some(Value::TensorType(tensor)) }),
        doc_string: Some(doc.to_owned()),
    }
}
