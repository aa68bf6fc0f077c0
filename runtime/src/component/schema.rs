//! JSON Schema (2020-12) of a tool's arguments and result: what `value.rs` takes and gives, in words for models.

use serde_json::{Map, Value, json};

use super::shape::Shape;

/// The numbers that a float can be and JSON can't write.
pub(crate) const NO_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Returns the schema of an object with these fields. Those that take `null` may be left out.
pub(crate) fn object<'a>(fields: impl IntoIterator<Item = &'a (String, Shape)>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, shape) in fields {
        properties.insert(name.clone(), schema(shape));
        if !shape.takes_null() {
            required.push(json!(name));
        }
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// Returns the schema of a type's values.
pub(crate) fn schema(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::S8 => whole(i8::MIN.into(), i8::MAX.into()),
        Shape::U8 => whole(0, u8::MAX.into()),
        Shape::S16 => whole(i16::MIN.into(), i16::MAX.into()),
        Shape::U16 => whole(0, u16::MAX.into()),
        Shape::S32 => whole(i32::MIN.into(), i32::MAX.into()),
        Shape::U32 => whole(0, u32::MAX.into()),
        Shape::S64 => large(&json!(i64::MIN), &json!(i64::MAX), "^-?[0-9]{1,19}$"),
        Shape::U64 => large(&json!(0), &json!(u64::MAX), "^[0-9]{1,20}$"),
        Shape::F32 | Shape::F64 => json!({ "anyOf": [{ "type": "number" }, { "enum": NO_NUMBERS }] }),
        Shape::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        Shape::String => json!({ "type": "string" }),
        Shape::Bytes => json!({ "type": "string", "contentEncoding": "base64", "description": "bytes, in base64" }),
        Shape::List(item) => json!({ "type": "array", "items": schema(item) }),
        Shape::Record(fields) => object(fields),
        Shape::Tuple(items) => {
            let (count, items) = (items.len(), items.iter().map(schema).collect::<Vec<_>>());
            json!({ "type": "array", "prefixItems": items, "items": false, "minItems": count, "maxItems": count })
        }
        Shape::Variant(cases) => {
            let cases = cases.iter().map(|(name, shape)| match shape {
                None => json!({ "const": name }),
                Some(shape) => tagged(name, schema(shape)),
            });
            json!({ "oneOf": cases.collect::<Vec<_>>() })
        }
        Shape::Enum(names) => json!({ "enum": names }),
        Shape::Option(value) if value.takes_null() => {
            json!({ "anyOf": [tagged("some", schema(value)), { "type": "null" }] })
        }
        Shape::Option(value) => json!({ "anyOf": [schema(value), { "type": "null" }] }),
        Shape::Result(ok, err) => {
            let side =
                |shape: &Option<Box<Shape>>| shape.as_ref().map_or(json!({ "type": "null" }), |shape| schema(shape));
            json!({ "oneOf": [tagged("ok", side(ok)), tagged("err", side(err))] })
        }
        Shape::Flags(names) => json!({ "type": "array", "items": { "enum": names }, "uniqueItems": true }),
    }
}

fn whole(least: i64, most: i64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

/// Many JSON readers round numbers past 2^53, so a string does as well.
fn large(least: &Value, most: &Value, pattern: &str) -> Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": least, "maximum": most },
        { "type": "string", "pattern": pattern, "description": "the number in decimal digits, exact past 2^53" }
    ] })
}

fn tagged(name: &str, value: Value) -> Value {
    let properties: Map<String, Value> = [(name.to_owned(), value)].into_iter().collect();
    json!({ "type": "object", "properties": properties, "required": [name], "additionalProperties": false })
}
