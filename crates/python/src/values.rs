//! Values of Python and of TOML.

use fmam::Setting;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use toml::Value;

use crate::raise::raise;

/// The settings of a dictionary. A key may have dots, and a value may be a dictionary of further
/// settings.
pub(crate) fn settings(dict: &Bound<'_, PyDict>) -> PyResult<Vec<Setting>> {
    let setting = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let key: String = key.extract()?;
        Setting::new(&key, to_toml(&value)?).map_err(|error| raise(&error.into()))
    };
    dict.iter().map(setting).collect()
}

/// The value of a setting.
fn to_toml(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    // True is an integer, too.
    if value.is_instance_of::<PyBool>() {
        return Ok(Value::Boolean(value.extract()?));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(Value::Integer(value.extract()?));
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Value::String(value.extract()?));
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let entry = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            Ok((key.extract::<String>()?, to_toml(&value)?))
        };
        return Ok(Value::Table(dict.iter().map(entry).collect::<PyResult<_>>()?));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.map(|item| to_toml(&item?));
        return Ok(Value::Array(items.collect::<PyResult<_>>()?));
    }
    // Numbers of NumPy among them.
    if let Ok(number) = value.extract::<f64>() {
        return Ok(Value::Float(number));
    }
    let found = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("a setting is a bool, int, float, str, list or dict, not a {found}")))
}

/// `value` for Python; a date is a text.
pub(crate) fn from_toml<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Boolean(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Integer(value) => value.into_pyobject(py)?.into_any(),
        Value::Float(value) => PyFloat::new(py, *value).into_any(),
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Datetime(date) => PyString::new(py, &date.to_string()).into_any(),
        Value::Array(items) => {
            let items = items.iter().map(|item| from_toml(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Table(table) => {
            let dict = PyDict::new(py);
            for (key, value) in table {
                dict.set_item(key, from_toml(py, value)?)?;
            }
            dict.into_any()
        }
    })
}
