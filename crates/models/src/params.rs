use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use fmam_core::Seed;
use fmam_ops::{Kernels, default_kernels};

use crate::error::NAMED_KEYS;
use crate::{Init, ModelError};

/// A place in a tree of named tensors, and what happens when a network asks for one: drawn, or
/// looked up. Names mirror those of checkpoints: `params.pp("layer1").pp(0).get("weight", ...)` is
/// the tensor `layer1.0.weight`.
///
/// The choice between [`Params::trainable`] and [`Params::frozen`] decides what the network built
/// from it does: trainable, it normalises by the statistics of the batch and records gradients;
/// frozen, it normalises by the running statistics, folded into the convolutions, and records none.
/// Clones share the tensors.
#[derive(Debug, Clone)]
pub struct Params {
    source: Arc<Source>,
    device: Device,
    prefix: String,
    passes_gradients: bool,
    kernels: Kernels,
}

#[derive(Debug)]
enum Source {
    Trainable(Drawn),
    Frozen(Given),
    /// Frozen but for the places below `trained`, whose parameters start from the given ones.
    Partly {
        given: Given,
        drawn: Drawn,
        trained: String,
    },
}

impl Params {
    /// Parameters to train. Each is drawn when it is first asked for, from the stream of `seed`
    /// that bears its full name, so that its value depends on nothing else.
    pub fn trainable(seed: Seed, device: &Device) -> Self {
        Self::new(Source::Trainable(Drawn { seed, entries: Mutex::default() }), device)
    }

    /// Parameters that are given. `origin` is where they came from, for error messages.
    pub fn frozen(tensors: BTreeMap<String, Tensor>, origin: &str, device: &Device) -> Self {
        let given = Given { origin: origin.to_owned(), tensors, used: Mutex::default() };
        Self::new(Source::Frozen(given), device)
    }

    /// Parameters that are given, of which those below the place `trained` start there and are
    /// trained.
    pub(crate) fn partly_trainable(
        tensors: BTreeMap<String, Tensor>,
        origin: &str,
        trained: &str,
        device: &Device,
    ) -> Self {
        let given = Given { origin: origin.to_owned(), tensors, used: Mutex::default() };
        let drawn = Drawn { seed: Seed::new(0), entries: Mutex::default() };
        Self::new(Source::Partly { given, drawn, trained: trained.to_owned() }, device)
    }

    fn new(source: Source, device: &Device) -> Self {
        Self {
            source: Arc::new(source),
            device: device.clone(),
            prefix: String::new(),
            passes_gradients: false,
            kernels: default_kernels(),
        }
    }

    /// The same, for networks that run `kernels` instead of the default of the process.
    #[must_use]
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The kernels that a network built from these parameters runs.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The same, for frozen networks through which gradients reach their input, as some methods
    /// need to tell what in an image makes a difference. Their layers are slower: none are joined,
    /// and each keeps its result.
    #[must_use]
    pub fn passing_gradients(self) -> Self {
        Self { passes_gradients: true, ..self }
    }

    /// True where the tensors of this place are given and gradients pass to the input of what is
    /// built from them.
    pub(crate) fn passes_gradients(&self) -> bool {
        self.passes_gradients && self.is_frozen()
    }

    /// The place called `name` below this one.
    #[must_use]
    pub fn pp(&self, name: impl Display) -> Self {
        Self { prefix: self.full_name(name), ..self.clone() }
    }

    /// True where the tensors of this place are given and do not change.
    pub fn is_frozen(&self) -> bool {
        match &*self.source {
            Source::Trainable(_) => false,
            Source::Frozen(_) => true,
            Source::Partly { trained, .. } => {
                let below = self.prefix.strip_prefix(trained.as_str());
                !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
        }
    }

    /// The parameter `name` of this place, f32. When trainable, it is a variable's tensor:
    /// gradients are recorded.
    ///
    /// # Errors
    /// [`ModelError::MissingKey`] when frozen and not given; [`ModelError::MisshapenKey`] when it
    /// has, or was asked for with, another shape.
    pub fn get(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor, ModelError> {
        let (name, shape) = (self.full_name(name), shape.into());
        match &*self.source {
            Source::Trainable(drawn) => {
                Ok(drawn.var(name, shape, init, false, &self.device)?.as_tensor().clone())
            }
            Source::Partly { given, drawn, .. } if !self.is_frozen() => {
                let start = given.tensor(name.clone(), &shape, &self.device)?;
                Ok(drawn.var_from(name, &start, false)?.as_tensor().clone())
            }
            Source::Frozen(given) | Source::Partly { given, .. } => given.tensor(name, &shape, &self.device),
        }
    }

    /// The running statistic `name` of this place, f32: saved with the parameters, never given to
    /// an optimizer.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Var, ModelError> {
        let (name, shape) = (self.full_name(name), shape.into());
        match &*self.source {
            Source::Trainable(drawn) => drawn.var(name, shape, init, true, &self.device),
            Source::Partly { given, drawn, .. } if !self.is_frozen() => {
                drawn.var_from(name.clone(), &given.tensor(name, &shape, &self.device)?, true)
            }
            Source::Frozen(given) | Source::Partly { given, .. } => {
                Ok(Var::from_tensor(&given.tensor(name, &shape, &self.device)?)?)
            }
        }
    }

    /// The variables that an optimizer changes, in the order of the names; none when frozen.
    pub fn vars(&self) -> Vec<Var> {
        match &*self.source {
            Source::Trainable(drawn) | Source::Partly { drawn, .. } => {
                let entries = lock(&drawn.entries);
                entries.values().filter(|entry| !entry.is_buffer).map(|entry| entry.var.clone()).collect()
            }
            Source::Frozen(_) => Vec::new(),
        }
    }

    /// The variables that a training changes, parameters and running statistics, by full name; none
    /// when frozen.
    pub fn trained(&self) -> BTreeMap<String, Var> {
        match &*self.source {
            Source::Trainable(drawn) | Source::Partly { drawn, .. } => {
                let entries = lock(&drawn.entries);
                entries.iter().map(|(name, entry)| (name.clone(), entry.var.clone())).collect()
            }
            Source::Frozen(_) => BTreeMap::new(),
        }
    }

    /// All that was asked for so far, parameters and running statistics, by full name: detached
    /// copies when trainable. A network built from [`Params::frozen`] of them gives what this one
    /// gives in evaluation.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>, ModelError> {
        match &*self.source {
            Source::Trainable(drawn) => drawn.tensors(),
            Source::Frozen(given) => Ok(lock(&given.used).clone()),
            Source::Partly { given, drawn, .. } => {
                let mut tensors = lock(&given.used).clone();
                tensors.extend(drawn.tensors()?);
                Ok(tensors)
            }
        }
    }

    /// Checks that every given tensor was asked for, but for those whose full name `ignorable`
    /// accepts.
    ///
    /// # Errors
    /// [`ModelError::SurplusKeys`] naming the others. Never when trainable.
    pub fn finish(&self, ignorable: impl Fn(&str) -> bool) -> Result<(), ModelError> {
        let (Source::Frozen(given) | Source::Partly { given, .. }) = &*self.source else { return Ok(()) };
        let used = lock(&given.used);
        let surplus = |name: &&String| !used.contains_key(*name) && !ignorable(name);
        let keys: Vec<String> = given.tensors.keys().filter(surplus).cloned().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let known = used.keys().take(NAMED_KEYS).cloned().collect();
        Err(ModelError::SurplusKeys { origin: given.origin.clone(), keys, known })
    }

    fn full_name(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

#[derive(Debug)]
struct Drawn {
    seed: Seed,
    entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    var: Var,
    is_buffer: bool,
}

impl Drawn {
    fn var(
        &self,
        name: String,
        shape: Shape,
        init: Init,
        is_buffer: bool,
        device: &Device,
    ) -> Result<Var, ModelError> {
        if let Some(var) = self.known(&name) {
            check_shape("trainable parameters", &name, &shape, &var)?;
            return Ok(var);
        }
        let values = init.draw(self.seed.derive(&name), shape.elem_count());
        Ok(self.keep(name, Var::from_vec(values, shape, device)?, is_buffer))
    }

    /// The variable `name`, which starts as a copy of `start`.
    fn var_from(&self, name: String, start: &Tensor, is_buffer: bool) -> Result<Var, ModelError> {
        match self.known(&name) {
            Some(var) => Ok(var),
            None => Ok(self.keep(name, Var::from_tensor(&start.copy()?)?, is_buffer)),
        }
    }

    fn known(&self, name: &str) -> Option<Var> {
        lock(&self.entries).get(name).map(|entry| entry.var.clone())
    }

    /// The variable `name`: `var`, unless another thread was faster. Nothing is computed under the
    /// lock.
    fn keep(&self, name: String, var: Var, is_buffer: bool) -> Var {
        lock(&self.entries).entry(name).or_insert(Entry { var, is_buffer }).var.clone()
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>, ModelError> {
        let vars: Vec<(String, Var)> =
            lock(&self.entries).iter().map(|(name, entry)| (name.clone(), entry.var.clone())).collect();
        vars.into_iter().map(|(name, var)| Ok((name, var.as_detached_tensor().copy()?))).collect()
    }
}

#[derive(Debug)]
struct Given {
    origin: String,
    tensors: BTreeMap<String, Tensor>,
    used: Mutex<BTreeMap<String, Tensor>>,
}

impl Given {
    fn tensor(&self, name: String, shape: &Shape, device: &Device) -> Result<Tensor, ModelError> {
        let Some(tensor) = self.tensors.get(&name) else {
            let others = self.unused(NAMED_KEYS);
            return Err(ModelError::MissingKey { origin: self.origin.clone(), key: name, others });
        };
        check_shape(&self.origin, &name, shape, tensor)?;
        let tensor = tensor.detach().to_device(device)?.to_dtype(DType::F32)?.contiguous()?;
        lock(&self.used).insert(name, tensor.clone());
        Ok(tensor)
    }

    /// The first `count` names that were not asked for.
    fn unused(&self, count: usize) -> Vec<String> {
        let used = lock(&self.used);
        self.tensors.keys().filter(|name| !used.contains_key(*name)).take(count).cloned().collect()
    }
}

fn check_shape(origin: &str, key: &str, expected: &Shape, actual: &Tensor) -> Result<(), ModelError> {
    if actual.shape() == expected {
        return Ok(());
    }
    Err(ModelError::MisshapenKey {
        origin: origin.to_owned(),
        key: key.to_owned(),
        expected: expected.dims().to_vec(),
        actual: actual.dims().to_vec(),
    })
}

/// A panic elsewhere leaves the maps whole: each insertion is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
