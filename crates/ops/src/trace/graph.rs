//! The graph that a trace holds: operators of the ONNX standard, version 18 of its operator set.

use candle_core::{DType, Result, Tensor};

/// A value of a [`Graph`]: its input, a constant or the result of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(usize);

impl ValueId {
    /// The number of the value, from 0, in the order in which a graph got its values.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A setting of an operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
}

/// An operator and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The name of the operator in the ONNX standard.
    pub operator: &'static str,
    /// The values it reads, in the standard's order.
    pub inputs: Vec<ValueId>,
    /// The values it makes, of which the last is read.
    pub outputs: Vec<ValueId>,
    /// Its settings, those that differ from the standard's defaults.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// A constant of a graph.
#[derive(Debug, Clone)]
pub struct Constant {
    /// The value.
    pub value: ValueId,
    /// Its elements.
    pub elements: Elements,
}

/// The elements of a constant.
#[derive(Debug, Clone)]
pub enum Elements {
    /// 32-bit floats in the shape of the tensor.
    Float(Tensor),
    /// A list of whole numbers: indices, shapes, counts.
    Ints(Vec<i64>),
}

/// Operators from an image to a verdict, in an order in which each finds its inputs made.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    n_values: usize,
    /// The value that is not made by an operator.
    input: Option<ValueId>,
    constants: Vec<Constant>,
    nodes: Vec<Node>,
}

impl Graph {
    /// The input; `None` for a graph without one.
    pub fn input(&self) -> Option<ValueId> {
        self.input
    }

    /// The constants, in the order of their first use.
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// The operators, each behind those whose results it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Bytes of all constants.
    pub fn constant_bytes(&self) -> usize {
        let bytes = |constant: &Constant| match &constant.elements {
            Elements::Float(tensor) => tensor.elem_count() * size_of::<f32>(),
            Elements::Ints(list) => list.len() * size_of::<i64>(),
        };
        self.constants.iter().map(bytes).sum()
    }

    /// The graph without operators and constants that none of `outputs` depends on.
    #[must_use]
    pub fn needed_for(mut self, outputs: &[ValueId]) -> Self {
        let mut is_needed = vec![false; self.n_values];
        outputs.iter().for_each(|output| is_needed[output.0] = true);
        // From the end: an operator is needed by those behind it.
        for node in self.nodes.iter().rev() {
            if node.outputs.iter().any(|output| is_needed[output.0]) {
                node.inputs.iter().for_each(|input| is_needed[input.0] = true);
            }
        }
        self.nodes.retain(|node| node.outputs.iter().any(|output| is_needed[output.0]));
        self.constants.retain(|constant| is_needed[constant.value.0]);
        self
    }

    /// True if the two have the same operators and the same bits in their constants.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn is_same(&self, other: &Self) -> Result<bool> {
        if self.nodes != other.nodes
            || self.input != other.input
            || self.constants.len() != other.constants.len()
        {
            return Ok(false);
        }
        for (a, b) in self.constants.iter().zip(&other.constants) {
            let is_equal = a.value == b.value
                && match (&a.elements, &b.elements) {
                    (Elements::Float(a), Elements::Float(b)) => a.dims() == b.dims() && bits(a)? == bits(b)?,
                    (Elements::Ints(a), Elements::Ints(b)) => a == b,
                    _ => false,
                };
            if !is_equal {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn value(&mut self) -> ValueId {
        self.n_values += 1;
        ValueId(self.n_values - 1)
    }

    pub(super) fn set_input(&mut self) -> ValueId {
        let value = self.value();
        self.input = Some(value);
        value
    }

    /// A constant of 32-bit floats.
    pub(crate) fn float(&mut self, tensor: &Tensor) -> Result<ValueId> {
        let (value, tensor) = (self.value(), tensor.detach().to_dtype(DType::F32)?);
        self.constants.push(Constant { value, elements: Elements::Float(tensor) });
        Ok(value)
    }

    /// A constant list of whole numbers.
    pub(crate) fn ints(&mut self, list: impl IntoIterator<Item = i64>) -> ValueId {
        let value = self.value();
        self.constants.push(Constant { value, elements: Elements::Ints(list.into_iter().collect()) });
        value
    }

    /// The result of an operator.
    pub(crate) fn node(&mut self, operator: &'static str, inputs: &[ValueId]) -> ValueId {
        self.node_with(operator, inputs, Vec::new())
    }

    /// The result of an operator with settings.
    pub(crate) fn node_with(
        &mut self,
        operator: &'static str,
        inputs: &[ValueId],
        attributes: Vec<(&'static str, Attribute)>,
    ) -> ValueId {
        let output = self.value();
        self.nodes.push(Node { operator, inputs: inputs.to_vec(), outputs: vec![output], attributes });
        output
    }

    /// The second result of an operator that has two.
    pub(crate) fn second_of_two(
        &mut self,
        operator: &'static str,
        inputs: &[ValueId],
        attributes: Vec<(&'static str, Attribute)>,
    ) -> ValueId {
        let outputs = vec![self.value(), self.value()];
        let second = outputs[1];
        self.nodes.push(Node { operator, inputs: inputs.to_vec(), outputs, attributes });
        second
    }
}

/// A number, on the device of `like`, as a constant of the graph.
pub(super) fn scalar(graph: &mut Graph, like: &Tensor, value: f64) -> Result<ValueId> {
    graph.float(&Tensor::new(value as f32, like.device())?)
}

/// Whole numbers as a setting.
pub(super) fn ints<const N: usize>(values: [usize; N]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}

fn bits(tensor: &Tensor) -> Result<Vec<u32>> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
}
