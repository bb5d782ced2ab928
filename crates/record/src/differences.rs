use serde_json::Value;

/// The differences of two configurations: the key with its parents, such as `method.epochs`, and
/// both values; null for a missing one.
pub fn differences<'a>(a: &'a Value, b: &'a Value) -> Vec<(String, &'a Value, &'a Value)> {
    let mut found = Vec::new();
    collect(a, b, "", &mut found);
    found
}

fn collect<'a>(a: &'a Value, b: &'a Value, key: &str, found: &mut Vec<(String, &'a Value, &'a Value)>) {
    if let (Value::Object(fields), Value::Object(others)) = (a, b) {
        for name in fields.keys().chain(others.keys().filter(|name| !fields.contains_key(*name))) {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            collect(&a[name], &b[name], &key, found);
        }
    } else if a != b {
        found.push((key.to_owned(), a, b));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_whole_key() {
        let (a, b) = (
            json!({"m": {"epochs": 10, "lr": 0.1}, "x": {"y": 1}}),
            json!({"m": {"epochs": 20, "lr": 0.1}, "w": [1]}),
        );
        let found = differences(&a, &b);
        let (null, object) = (Value::Null, json!({"y": 1}));
        assert_eq!(
            found,
            [
                ("m.epochs".to_owned(), &json!(10), &json!(20)),
                ("x".to_owned(), &object, &null),
                ("w".to_owned(), &null, &json!([1]))
            ]
        );
        assert!(differences(&a, &a).is_empty());
    }
}
