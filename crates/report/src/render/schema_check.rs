//! The part of JSON Schema that `report.schema.json` uses, for the test of it.

use serde_json::Value;

/// Keywords that tell a reader something and check nothing.
const NOTES: &[&str] = &["$schema", "$defs", "$comment", "title", "description", "examples"];

/// A pattern and what it accepts.
type Pattern = (&'static str, fn(&str) -> bool);

/// The patterns of the schema.
const PATTERNS: [Pattern; 2] = [
    (r"^(cpu|(cuda|metal):(0|[1-9][0-9]*))$", |text| {
        let of_kind = |kind: &str| text.strip_prefix(kind).is_some_and(is_index);
        text == "cpu" || of_kind("cuda:") || of_kind("metal:")
    }),
    (r"^runs(/[^/\\]+){4}/seed-(0|[1-9][0-9]*)$", |text| {
        let parts: Vec<&str> = text.split('/').collect();
        let ["runs", names @ .., seed] = &parts[..] else { return false };
        let is_name = |name: &&str| !name.is_empty() && !name.contains('\\');
        names.len() == 4 && names.iter().all(is_name) && seed.strip_prefix("seed-").is_some_and(is_index)
    }),
];

/// `0|[1-9][0-9]*`
fn is_index(text: &str) -> bool {
    text == "0"
        || (text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() && !text.starts_with('0'))
}

/// The places where `value` is not as `schema` says; empty where it is valid.
///
/// # Panics
/// When the schema has a keyword that this checker does not know, or a keyword with a wrong value.
pub(crate) fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Checker { root: schema }.check(schema, value, "", &mut found);
    found
}

struct Checker<'a> {
    root: &'a Value,
}

impl Checker<'_> {
    fn is_valid(&self, schema: &Value, value: &Value) -> bool {
        let mut found = Vec::new();
        self.check(schema, value, "", &mut found);
        found.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        if let Value::Bool(allowed) = schema {
            if !allowed {
                found.push(format!("{at}: not expected"));
            }
            return;
        }
        for (keyword, argument) in schema.as_object().expect("a schema is an object") {
            let is_met = match keyword.as_str() {
                "$ref" => {
                    let pointer = argument.as_str().and_then(|target| target.strip_prefix('#')).unwrap();
                    self.check(self.root.pointer(pointer).expect(pointer), value, at, found);
                    true
                }
                "if" => {
                    let branch = if self.is_valid(argument, value) { "then" } else { "else" };
                    self.check(schema.get(branch).unwrap_or(&Value::Bool(true)), value, at, found);
                    true
                }
                "then" | "else" => schema.get("if").is_some(),
                "anyOf" => argument.as_array().unwrap().iter().any(|option| self.is_valid(option, value)),
                "properties" => {
                    for (name, property) in argument.as_object().unwrap() {
                        if let Some(value) = value.get(name) {
                            self.check(property, value, &format!("{at}/{name}"), found);
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    let known = |name: &str| schema.pointer(&format!("/properties/{name}")).is_some();
                    let others = value.as_object().into_iter().flatten().filter(|(name, _)| !known(name));
                    others.for_each(|(name, value)| {
                        self.check(argument, value, &format!("{at}/{name}"), found);
                    });
                    true
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(argument, value, &format!("{at}/{index}"), found);
                    }
                    true
                }
                keyword => NOTES.contains(&keyword) || is_met(keyword, argument, value),
            };
            if !is_met {
                found.push(format!("{at}: {value} is not as {keyword}: {argument} says"));
            }
        }
    }
}

/// A keyword without schemas inside. One about another type than the value's is met.
fn is_met(keyword: &str, argument: &Value, value: &Value) -> bool {
    let limit = || argument.as_f64().expect(keyword);
    let number = |holds: fn(f64, f64) -> bool| value.as_f64().is_none_or(|value| holds(value, limit()));
    let length = |length: Option<usize>, holds: fn(f64, f64) -> bool| {
        length.is_none_or(|length| holds(length as f64, limit()))
    };
    let (at_least, at_most) = (|a: f64, b: f64| a >= b, |a: f64, b: f64| a <= b);
    let array = value.as_array();
    match keyword {
        "type" => match argument {
            Value::Array(types) => types.iter().any(|one| is_of_type(one, value)),
            one => is_of_type(one, value),
        },
        "const" => value == argument,
        "minimum" => number(at_least),
        "exclusiveMinimum" => number(|a, b| a > b),
        "maximum" => number(at_most),
        "minLength" => length(value.as_str().map(|text| text.chars().count()), at_least),
        "minItems" => length(array.map(Vec::len), at_least),
        "maxItems" => length(array.map(Vec::len), at_most),
        "uniqueItems" => array.is_none_or(|items| {
            items.iter().enumerate().all(|(k, item)| !items[..k].contains(item)) || argument == false
        }),
        "pattern" => {
            let matches =
                PATTERNS.iter().find(|(pattern, _)| argument == pattern).expect("a known pattern").1;
            value.as_str().is_none_or(matches)
        }
        "required" => {
            let names = argument.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            value.as_object().is_none_or(|object| names.into_iter().all(|name| object.contains_key(name)))
        }
        unknown => panic!("the checker does not know the keyword {unknown}"),
    }
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|value| value.fract() == 0.0),
        "null" => value.is_null(),
        unknown => panic!("the checker does not know the type {unknown}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_keyword_refuses_something() {
        let root = json!({"$defs": {"one": {"const": 1}}});
        for (schema, right, wrong) in [
            (json!({"$ref": "#/$defs/one"}), json!(1), json!(2)),
            (json!({"type": "integer"}), json!(1), json!(1.5)),
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"anyOf": [{"const": 1}, {"type": "null"}]}), json!(null), json!(2)),
            (json!({"minimum": 0, "maximum": 1}), json!(1), json!(1.1)),
            (json!({"exclusiveMinimum": 0}), json!(0.1), json!(0)),
            (json!({"minLength": 2}), json!("éé"), json!("é")),
            (json!({"minItems": 1, "maxItems": 1}), json!([1]), json!([])),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1])),
            (json!({"pattern": PATTERNS[0].0}), json!("cuda:10"), json!("cuda:01")),
            (json!({"pattern": PATTERNS[0].0}), json!("cpu"), json!("cpu:0")),
            (json!({"pattern": PATTERNS[1].0}), json!("runs/a/b/c/d/seed-0"), json!("runs/a/b/c/seed-0")),
            (
                json!({"pattern": PATTERNS[1].0}),
                json!("runs/a/b/c/d/seed-12"),
                json!("runs/a/b\\/c/d/seed-1"),
            ),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({"b": 1})),
            (json!({"properties": {"a": {"const": 1}}}), json!({"b": 2}), json!({"a": 2})),
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                json!({"a": 2}),
                json!({"b": 2}),
            ),
            (json!({"additionalProperties": {"type": "null"}}), json!({"a": null}), json!({"a": 1})),
            (json!({"items": {"const": 1}}), json!([1, 1]), json!([1, 2])),
            (json!({"if": {"const": 1}, "then": {}, "else": {"const": 2}}), json!(2), json!(3)),
            (json!({"if": {"const": 1}, "then": false}), json!(3), json!(1)),
        ] {
            let checker = Checker { root: &root };
            assert!(checker.is_valid(&schema, &right), "{schema} of {right}");
            assert!(!checker.is_valid(&schema, &wrong), "{schema} of {wrong}");
        }
    }
}
