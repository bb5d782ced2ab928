//! The part of Python's pickle format that checkpoints of PyTorch use. Nothing is executed: a
//! global is one of the few names below or [`Value::Foreign`], and calling one makes a value of
//! this module.

use std::rc::Rc;

use candle_core::DType;

use super::budget::Budget;
use super::pickle_value::{Global, Storage, Value, call, long, storage};

/// Values nest no deeper than in a state dict with its metadata; the limit keeps a hostile file
/// from exhausting the stack.
const MAX_DEPTH: u8 = 16;

/// Why a pickle is not one of a state dict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PickleError {
    #[error("the file ends too early")]
    Truncated,
    #[error("no pickle of a state dict: operation {opcode:#04x} at byte {position}")]
    Opcode { opcode: u8, position: usize },
    #[error("cannot read the Python object `{0}`; save model.state_dict() and nothing else")]
    Foreign(String),
    #[error("the pickle is corrupt at byte {position}")]
    Corrupt { position: usize },
    #[error("its values take far more memory than the file has bytes: no state dict does")]
    Budget,
}

/// One pickle.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(crate) value: Value,
    /// Bytes that it took.
    pub(crate) length: usize,
    /// Every storage that it names, those outside the state dict included.
    pub(crate) storages: Vec<Storage>,
}

/// Reads one pickle from the front of `bytes`, whose values take their memory from `budget`.
pub(super) fn unpickle(bytes: &[u8], budget: &mut Budget) -> Result<Pickle, PickleError> {
    let mut machine = Machine {
        bytes,
        budget,
        position: 0,
        n_operations: 0,
        stack: Vec::new(),
        memo: Vec::new(),
        storages: Vec::new(),
        foreign: None,
    };
    loop {
        let start = machine.position;
        let step = machine.step().and_then(|ended| if ended { machine.pop().map(Some) } else { Ok(None) });
        let step = step.map_err(|failure| match (failure, &machine.foreign) {
            // The needs of a foreign object are not known here, so that the object is the reason.
            (Failure::Opcode(_) | Failure::Corrupt, Some(name)) => PickleError::Foreign(name.to_string()),
            (failure, _) => failure.at(start),
        });
        if let Some(value) = step? {
            return Ok(Pickle { value, length: machine.position, storages: machine.storages });
        }
    }
}

/// [`PickleError`] without the position.
enum Failure {
    Truncated,
    Opcode(u8),
    Corrupt,
    Budget,
}

impl Failure {
    fn at(self, position: usize) -> PickleError {
        match self {
            Self::Truncated => PickleError::Truncated,
            Self::Opcode(opcode) => PickleError::Opcode { opcode, position },
            Self::Corrupt => PickleError::Corrupt { position },
            Self::Budget => PickleError::Budget,
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    budget: &'a mut Budget,
    position: usize,
    n_operations: usize,
    stack: Vec<Value>,
    memo: Vec<Option<Value>>,
    storages: Vec<Storage>,
    /// The first foreign object.
    foreign: Option<Rc<str>>,
}

impl Machine<'_> {
    /// Performs one operation; gives whether it was the last.
    fn step(&mut self) -> Result<bool, Failure> {
        let [opcode] = self.array()?;
        self.n_operations += 1;
        // No operation makes more than one value, apart from the copies below.
        self.afford(size_of::<Value>())?;
        match opcode {
            // PROTO: the operations say all that matters.
            0x80 => {
                self.array::<1>()?;
            }
            b'.' => return Ok(true),
            b'(' => self.stack.push(Value::Mark),
            b'N' => self.stack.push(Value::Opaque),
            b'G' => {
                self.array::<8>()?;
                self.stack.push(Value::Opaque);
            }
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let [value] = self.array()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => {
                let [length] = self.array()?;
                let value = long(self.take(length.into())?);
                self.stack.push(value);
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                if self.bytes.len() - self.position >= length as usize {
                    self.afford(length as usize)?;
                }
                let text = std::str::from_utf8(self.take(length as usize)?).map_err(|_| Failure::Corrupt)?;
                let text = Value::Text(text.into());
                self.stack.push(text);
            }
            b'c' => {
                let global = self.global()?;
                self.stack.push(global);
            }
            b')' => self.push_tuple(Vec::new())?,
            0x85..=0x87 => {
                let start =
                    self.stack.len().checked_sub(usize::from(opcode - 0x84)).ok_or(Failure::Corrupt)?;
                let items = self.stack.split_off(start);
                self.push_tuple(items)?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_tuple(items)?;
            }
            b']' => self.stack.push(Value::List(Rc::default(), 1)),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b'}' => self.stack.push(Value::Dict(Rc::default(), 1)),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(items)?;
            }
            b'q' => {
                let [index] = self.array()?;
                self.memoize(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.memoize(index as usize)?;
            }
            b'h' => {
                let [index] = self.array()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index as usize)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let value = storage(&id).ok_or(Failure::Corrupt)?;
                if let Value::Storage(storage) = &value {
                    self.afford(size_of::<Storage>())?;
                    self.storages.push(storage.clone());
                }
                self.stack.push(value);
            }
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.stack.push(call(&callable, &args).ok_or(Failure::Corrupt)?);
            }
            // BUILD: attributes, such as a state dict's version numbers; the tensors do not depend
            // on them.
            b'b' => {
                self.pop()?;
                if self.stack.is_empty() {
                    return Err(Failure::Corrupt);
                }
            }
            _ => return Err(Failure::Opcode(opcode)),
        }
        Ok(false)
    }

    fn afford(&mut self, bytes: usize) -> Result<(), Failure> {
        if self.budget.take(bytes) { Ok(()) } else { Err(Failure::Budget) }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Failure> {
        let taken = self.bytes[self.position..].get(..count).ok_or(Failure::Truncated)?;
        self.position += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        self.take(N)?.try_into().map_err(|_| Failure::Truncated)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|b| *b == b'\n').ok_or(Failure::Truncated)?;
        let line = std::str::from_utf8(self.take(length + 1)?).map_err(|_| Failure::Corrupt)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn global(&mut self) -> Result<Value, Failure> {
        let (module, name) = (self.line()?, self.line()?);
        Ok(Value::Global(match (module.as_str(), name.as_str()) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            // The older of the two lacks the last two arguments, which are of no use here.
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch.nn.parameter", "Parameter") => Global::Parameter,
            ("torch", "FloatStorage") => Global::StorageType(DType::F32),
            ("torch", "DoubleStorage") => Global::StorageType(DType::F64),
            ("torch", "HalfStorage") => Global::StorageType(DType::F16),
            ("torch", "BFloat16Storage") => Global::StorageType(DType::BF16),
            ("torch", "LongStorage") => Global::StorageType(DType::I64),
            ("torch", "IntStorage") => Global::StorageType(DType::I32),
            ("torch", "ShortStorage") => Global::StorageType(DType::I16),
            ("torch", "ByteStorage" | "BoolStorage") => Global::StorageType(DType::U8),
            _ => {
                let name: Rc<str> = format!("{module}.{name}").into();
                self.foreign.get_or_insert_with(|| Rc::clone(&name));
                return Ok(Value::Foreign(name));
            }
        }))
    }

    fn pop(&mut self) -> Result<Value, Failure> {
        self.stack.pop().ok_or(Failure::Corrupt)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, Failure> {
        let mark = self.stack.iter().rposition(|v| matches!(v, Value::Mark)).ok_or(Failure::Corrupt)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), Failure> {
        let depth = depth_around(&items)?;
        self.stack.push(Value::Tuple(items.into(), depth));
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), Failure> {
        let inner = depth_around(&items)?;
        match self.stack.last_mut() {
            Some(Value::List(list, depth)) => {
                *depth = inner.max(*depth);
                own(list, self.budget)?.extend(items);
                Ok(())
            }
            Some(Value::Foreign(_)) => Ok(()),
            _ => Err(Failure::Corrupt),
        }
    }

    fn insert(&mut self, items: Vec<Value>) -> Result<(), Failure> {
        let inner = depth_around(&items)?;
        if !items.len().is_multiple_of(2) {
            return Err(Failure::Corrupt);
        }
        let (entries, depth) = match self.stack.last_mut() {
            Some(Value::Dict(entries, depth)) => (entries, depth),
            Some(Value::Foreign(_)) => return Ok(()),
            _ => return Err(Failure::Corrupt),
        };
        *depth = inner.max(*depth);
        let mut items = items.into_iter();
        let entries = own(entries, self.budget)?;
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            entries.push((key, value));
        }
        Ok(())
    }

    /// A container that is changed later keeps here what it held: state dicts refer to finished
    /// values only.
    fn memoize(&mut self, index: usize) -> Result<(), Failure> {
        let value = self.stack.last().ok_or(Failure::Corrupt)?.clone();
        // Python counts its entries, so a larger index cannot be honest.
        if index > self.n_operations {
            return Err(Failure::Corrupt);
        }
        if index >= self.memo.len() {
            self.afford((index + 1 - self.memo.len()) * size_of::<Option<Value>>())?;
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(value);
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), Failure> {
        let value = self.memo.get(index).cloned().flatten().ok_or(Failure::Corrupt)?;
        self.stack.push(value);
        Ok(())
    }
}

/// The items of a container, copied first where the memo holds the container too.
fn own<'a, T: Clone>(items: &'a mut Rc<Vec<T>>, budget: &mut Budget) -> Result<&'a mut Vec<T>, Failure> {
    if Rc::strong_count(items) > 1 && !budget.take(items.len() * size_of::<T>()) {
        return Err(Failure::Budget);
    }
    Ok(Rc::make_mut(items))
}

fn depth_around(items: &[Value]) -> Result<u8, Failure> {
    let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
    if depth <= MAX_DEPTH { Ok(depth) } else { Err(Failure::Corrupt) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpickle(bytes: &[u8]) -> Result<Pickle, PickleError> {
        super::unpickle(bytes, &mut Budget::of_file(bytes.len(), 1))
    }

    #[test]
    fn integers_of_all_widths_are_signed_as_python_has_them() {
        let value = |bytes: &[u8]| match unpickle(bytes).unwrap() {
            Pickle { value: Value::Int(value), length, .. } if length == bytes.len() => value,
            other => panic!("{other:?}"),
        };
        assert_eq!(value(b"K\xff."), 255);
        assert_eq!(value(b"M\xff\xff."), 65_535);
        assert_eq!(value(b"J\xfe\xff\xff\xff."), -2);
        assert_eq!(value(b"\x8a\x01\xff."), -1);
        assert_eq!(value(b"\x8a\x02\xff\x00."), 255);
        assert_eq!(value(b"\x8a\x00."), 0);
    }

    #[test]
    fn code_is_named_and_not_run() {
        for bytes in [
            &b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R."[..],
            b"cos\nsystem\n)\x81}X\x01\x00\x00\x00aK\x01sb.",
            b"cos\nsystem\n)R(K\x01K\x02u.",
            b"cos\nsystem\n)R(K\x01K\x02e.",
        ] {
            let value = unpickle(bytes).unwrap().value;
            assert!(matches!(&value, Value::Foreign(name) if &**name == "os.system"), "{value:?}");
        }
        let error = unpickle(b"cos\nsystem\n\x00").unwrap_err();
        assert!(matches!(&error, PickleError::Foreign(name) if name == "os.system"), "{error}");
    }

    #[test]
    fn malformed_pickles_are_errors() {
        for bytes in [&b""[..], b"K", b"X\xff\xff\xff\xff", b"ccollections\n"] {
            assert!(matches!(unpickle(bytes), Err(PickleError::Truncated)), "{bytes:?}");
        }
        for bytes in [
            &b"."[..],
            b"t.",
            b"K\x01s.",
            b"(K\x01u.",
            b"h\x07.",
            b"K\x01r\xff\xff\xff\xff.",
            b"K\x01Q.",
            b"\x86.",
        ] {
            assert!(matches!(unpickle(bytes), Err(PickleError::Corrupt { .. })), "{bytes:?}");
        }
        assert!(matches!(unpickle(b"\x00"), Err(PickleError::Opcode { opcode: 0, position: 0 })));
    }

    #[test]
    fn nesting_is_bounded_and_doubling_stays_cheap() {
        let nested = [b"N".as_slice(), &b"\x85".repeat(1_000_000), b"."].concat();
        assert!(matches!(unpickle(&nested), Err(PickleError::Corrupt { .. })));
        // Each step pairs the value with itself: 2^15 leaves, were they copied.
        let doubled = [b"Nq\x00".as_slice(), &b"h\x00\x86q\x00".repeat(15), b"."].concat();
        assert!(matches!(unpickle(&doubled), Ok(Pickle { value: Value::Tuple(_, 15), .. })));
    }

    #[test]
    fn a_container_in_the_memo_is_copied_at_the_expense_of_the_budget() {
        let list = |n: u32| {
            let items = (0..n).flat_map(|index| [b"Nar".as_slice(), &index.to_le_bytes()].concat());
            [b"]".to_vec(), items.collect(), b".".to_vec()].concat()
        };
        assert!(unpickle(&list(500)).is_ok());
        assert!(matches!(unpickle(&list(8_000)), Err(PickleError::Budget)));
        // Python memorises a dict while it is empty, then fills it in parts.
        let part = [b"(".as_slice(), &b"K\x01K\x02".repeat(1_000), b"u"].concat();
        let honest = [b"}q\x00".as_slice(), &part.repeat(50), b"."].concat();
        let value = unpickle(&honest).unwrap().value;
        assert!(matches!(value, Value::Dict(entries, 1) if entries.len() == 50_000));
    }

    #[test]
    fn an_index_of_the_memo_beyond_the_operations_is_refused() {
        let far = [b"N".as_slice(), b"r\xff\x00\x00\x00", &b"N".repeat(1_000), b"."].concat();
        assert!(matches!(unpickle(&far), Err(PickleError::Corrupt { position: 1 })));
        assert!(unpickle(b"Nq\x01.").is_ok());
    }

    #[test]
    fn many_values_of_one_byte_are_refused() {
        let many = [b"N".repeat(2 << 20).as_slice(), b"."].concat();
        assert!(matches!(unpickle(&many), Err(PickleError::Budget)));
    }
}
