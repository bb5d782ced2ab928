//! The values in the pickle of a state dict, and the calls that make them.

use std::rc::Rc;

use candle_core::DType;

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// None, a float, or an object whose content does not matter to a state dict.
    Opaque,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<[Value]>, u8),
    Dict(Rc<Vec<(Value, Value)>>, u8),
    List(Rc<Vec<Value>>, u8),
    Global(Global),
    /// A Python object of another name, or what calling one would give. Nothing is executed.
    Foreign(Rc<str>),
    Storage(Storage),
    Tensor(Rc<StridedTensor>),
    Mark,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    Parameter,
    RebuildParameter,
    StorageType(DType),
}

/// The greatest number of axes of a tensor; it is that of PyTorch.
const MAX_RANK: usize = 64;

/// Elements that tensors share, by the key under which the file holds them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Storage {
    pub(crate) dtype: DType,
    pub(crate) key: Rc<str>,
    /// Number of elements.
    pub(crate) len: usize,
}

/// A view of a storage. Offset and strides count elements.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct StridedTensor {
    pub(crate) storage: Storage,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

impl StridedTensor {
    /// The number of elements; `None` for a view that reaches beyond its storage. A view may repeat
    /// elements; none of a state dict does, and one that does could be of any size.
    pub(crate) fn n_elements(&self) -> Option<usize> {
        let Self { storage, offset, shape, strides } = self;
        let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))?;
        if count == 0 {
            return Some(0);
        }
        let last = shape.iter().zip(strides).try_fold(*offset, |last, (size, stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        })?;
        (last < storage.len && count <= storage.len).then_some(count)
    }

    /// True if the elements lie in the storage one after another, the last axis fastest.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut expected = 1_usize;
        self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected = expected.saturating_mul(*size);
            fits
        })
    }
}

impl Value {
    pub(crate) fn depth(&self) -> u8 {
        match self {
            Self::Tuple(_, depth) | Self::Dict(_, depth) | Self::List(_, depth) => *depth,
            _ => 0,
        }
    }

    fn size(&self) -> Option<usize> {
        if let Self::Int(value) = self { usize::try_from(*value).ok() } else { None }
    }

    fn sizes(&self) -> Option<Vec<usize>> {
        match self {
            Self::Tuple(items, _) if items.len() <= MAX_RANK => items.iter().map(Self::size).collect(),
            _ => None,
        }
    }
}

/// A little-endian two's complement integer. Those beyond 64 bits are magic numbers, whose bytes
/// the caller knows.
pub(crate) fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Opaque;
    }
    let negative = bytes.last().is_some_and(|b| *b >= 0x80);
    let mut extended = if negative { [0xff; 8] } else { [0; 8] };
    extended[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(extended))
}

/// A persistent id is `("storage", type, key, device, length)`, in old files with a view of the
/// storage as well. A storage of a type that tensors here do not have is foreign.
pub(crate) fn storage(id: &Value) -> Option<Value> {
    let Value::Tuple(items, _) = id else { return None };
    match &items[..] {
        [Value::Text(tag), Value::Foreign(name), ..] if &**tag == "storage" => {
            Some(Value::Foreign(Rc::clone(name)))
        }
        [
            Value::Text(tag),
            Value::Global(Global::StorageType(dtype)),
            Value::Text(key),
            Value::Text(_),
            len,
            view @ ..,
        ] if &**tag == "storage" && matches!(view, [] | [Value::Opaque]) => {
            Some(Value::Storage(Storage { dtype: *dtype, key: Rc::clone(key), len: len.size()? }))
        }
        _ => None,
    }
}

/// The result of a call of a [`Global`]; a foreign value where the callable or its first argument
/// is foreign.
pub(crate) fn call(callable: &Value, args: &Value) -> Option<Value> {
    if let Value::Foreign(_) = callable {
        return Some(callable.clone());
    }
    let (Value::Global(global), Value::Tuple(args, _)) = (callable, args) else { return None };
    match (global, &args[..]) {
        (_, [foreign @ Value::Foreign(_), ..]) => Some(foreign.clone()),
        (Global::OrderedDict, []) => Some(Value::Dict(Rc::default(), 1)),
        (Global::RebuildTensor, [Value::Storage(storage), offset, shape, strides, ..]) => {
            let (shape, strides) = (shape.sizes()?, strides.sizes()?);
            let tensor = StridedTensor { storage: storage.clone(), offset: offset.size()?, shape, strides };
            (tensor.shape.len() == tensor.strides.len()).then(|| Value::Tensor(Rc::new(tensor)))
        }
        (Global::Parameter | Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => {
            Some(tensor.clone())
        }
        _ => None,
    }
}
