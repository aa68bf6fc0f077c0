//! Values: from JSON to what a component's function takes, and from what it gives to JSON. `schema.rs` says the same in words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};
use wasmtime::component::Val;

use super::schema::NO_NUMBERS;
use super::shape::Shape;

/// How many values arguments or a result may be made of: each takes some fifty bytes of our memory, whatever it says.
const VALUES_MAX: usize = 1_000_000;
/// The largest number that every JSON reader takes exactly: 2^53 - 1.
const EXACT_MAX: u64 = (1 << 53) - 1;
/// How much of a wrong value is shown.
const SHOWN_BYTES_MAX: usize = 60;

/// Reads arguments by name, in the order of `fields`.
///
/// # Errors
/// In words: which value is not what.
pub(crate) fn arguments(fields: &[(String, Shape)], given: &Value) -> Result<Vec<Val>, String> {
    let mut reader = Reader { path: "arguments".to_owned(), left: VALUES_MAX };
    Ok(reader.fields(fields, given)?.into_iter().map(|(_, value)| value).collect())
}

/// Writes a value.
///
/// # Errors
/// It has too many parts, or is not of the type.
pub(crate) fn json(shape: &Shape, value: &Val) -> Result<Value, String> {
    Writer { left: VALUES_MAX }.value(shape, value)
}

/// JSON on its way in.
struct Reader {
    /// Where it reads, for whoever wrote it.
    path: String,
    left: usize,
}

impl Reader {
    fn wrong(&self, wanted: &str, given: &Value) -> String {
        let mut shown = match given {
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            other => other.to_string(),
        };
        if shown.len() > SHOWN_BYTES_MAX {
            shown = shown.chars().take(SHOWN_BYTES_MAX / 4).chain("...".chars()).collect();
        }
        format!("{}: {wanted} is wanted, not {shown}", self.path)
    }

    fn take(&mut self, count: usize) -> Result<(), String> {
        let left = self.left.checked_sub(count);
        self.left = left.ok_or_else(|| {
            format!("arguments are made of more than {VALUES_MAX} values; write large inputs to files")
        })?;
        Ok(())
    }

    /// Reads something one step further down.
    fn at<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        let length = self.path.len();
        self.path.push_str(step);
        let read = read(self)?;
        self.path.truncate(length);
        Ok(read)
    }

    fn fields(&mut self, fields: &[(String, Shape)], given: &Value) -> Result<Vec<(String, Val)>, String> {
        let Value::Object(given) = given else { return Err(self.wrong("an object", given)) };
        if let Some(unknown) = given.keys().find(|name| fields.iter().all(|(known, _)| known != *name)) {
            let unknown: String = unknown.chars().take(SHOWN_BYTES_MAX).collect();
            let known: Vec<_> = fields.iter().map(|(name, _)| format!("`{name}`")).take(16).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!("{}: there is no field `{unknown}`; the fields are: {known}", self.path));
        }
        let read = fields.iter().map(|(name, shape)| {
            let value = match given.get(name) {
                Some(value) => self.at(&format!(".{name}"), |reader| reader.value(shape, value))?,
                None if shape.takes_null() => Val::Option(None),
                None => return Err(format!("{}: `{name}` is missing", self.path)),
            };
            Ok((name.clone(), value))
        });
        read.collect()
    }

    fn value(&mut self, shape: &Shape, given: &Value) -> Result<Val, String> {
        self.take(1)?;
        Ok(match shape {
            Shape::Bool => Val::Bool(given.as_bool().ok_or_else(|| self.wrong("true or false", given))?),
            Shape::S8 => Val::S8(self.signed(given, i8::MIN.into(), i8::MAX.into())?),
            Shape::S16 => Val::S16(self.signed(given, i16::MIN.into(), i16::MAX.into())?),
            Shape::S32 => Val::S32(self.signed(given, i32::MIN.into(), i32::MAX.into())?),
            Shape::S64 => Val::S64(self.signed(given, i64::MIN, i64::MAX)?),
            Shape::U8 => Val::U8(self.unsigned(given, u8::MAX.into())?),
            Shape::U16 => Val::U16(self.unsigned(given, u16::MAX.into())?),
            Shape::U32 => Val::U32(self.unsigned(given, u32::MAX.into())?),
            Shape::U64 => Val::U64(self.unsigned(given, u64::MAX)?),
            Shape::F32 => Val::Float32(self.float(given)?),
            Shape::F64 => Val::Float64(self.double(given)?),
            Shape::Char => {
                let mut all = given.as_str().unwrap_or_default().chars();
                match (all.next(), all.next()) {
                    (Some(one), None) => Val::Char(one),
                    _ => return Err(self.wrong("a string of one character", given)),
                }
            }
            Shape::String => Val::String(self.text(given)?.to_owned()),
            Shape::Bytes => {
                let bytes = given.as_str().and_then(|text| STANDARD.decode(text).ok());
                let bytes = bytes.ok_or_else(|| self.wrong("a string with bytes in base64", given))?;
                self.take(bytes.len() / 4)?;
                Val::List(bytes.into_iter().map(Val::U8).collect())
            }
            Shape::List(item) => {
                let Value::Array(items) = given else { return Err(self.wrong("an array", given)) };
                Val::List(self.items(items, std::iter::repeat(&**item))?)
            }
            Shape::Tuple(shapes) => match given {
                Value::Array(items) if items.len() == shapes.len() => Val::Tuple(self.items(items, shapes.iter())?),
                _ => return Err(self.wrong(&format!("an array of {}", shapes.len()), given)),
            },
            Shape::Record(fields) => Val::Record(self.fields(fields, given)?),
            Shape::Variant(cases) => {
                let (name, payload) = self.case(given, "the name of a case, or an object with one case")?;
                let Some((name, shape)) = cases.iter().find(|(known, _)| known == name) else {
                    return Err(self.wrong(&one_of(cases.iter().map(|(name, _)| name)), given));
                };
                match (shape, payload) {
                    (None, None) => Val::Variant(name.clone(), None),
                    (Some(shape), Some(payload)) => {
                        let value = self.at(&format!(".{name}"), |reader| reader.value(shape, payload))?;
                        Val::Variant(name.clone(), Some(Box::new(value)))
                    }
                    (None, Some(_)) => return Err(self.wrong(&format!("\"{name}\", which has no value"), given)),
                    (Some(_), None) => return Err(self.wrong(&format!("{{\"{name}\": its value}}"), given)),
                }
            }
            Shape::Enum(names) => {
                let name = given.as_str().filter(|given| names.iter().any(|name| name == given));
                Val::Enum(name.ok_or_else(|| self.wrong(&one_of(names.iter()), given))?.to_owned())
            }
            Shape::Option(_) if given.is_null() => Val::Option(None),
            Shape::Option(value) if value.takes_null() => {
                let (name, payload) = self.case(given, "null or {\"some\": its value}")?;
                let Some(payload) = payload.filter(|_| name == "some") else {
                    return Err(self.wrong("null or {\"some\": its value}", given));
                };
                Val::Option(Some(Box::new(self.at(".some", |reader| reader.value(value, payload))?)))
            }
            Shape::Option(value) => Val::Option(Some(Box::new(self.value(value, given)?))),
            Shape::Result(ok, err) => {
                let wanted = "{\"ok\": its value} or {\"err\": its value}";
                let (name, payload) = self.case(given, wanted)?;
                let (Some(payload), "ok" | "err") = (payload, name) else { return Err(self.wrong(wanted, given)) };
                let shape = if name == "ok" { ok } else { err };
                let value = match shape {
                    Some(shape) => Some(Box::new(self.at(&format!(".{name}"), |reader| reader.value(shape, payload))?)),
                    None if payload.is_null() => None,
                    None => return Err(self.wrong(&format!("{{\"{name}\": null}}"), given)),
                };
                Val::Result(if name == "ok" { Ok(value) } else { Err(value) })
            }
            Shape::Flags(names) => {
                let Value::Array(items) = given else { return Err(self.wrong("an array of names", given)) };
                for item in items.iter().take(names.len().saturating_add(1)) {
                    if !names.iter().any(|name| item == name) {
                        return Err(self.wrong(&format!("an array with some of {}", one_of(names.iter())), item));
                    }
                }
                if items.len() > names.len() {
                    return Err(self.wrong("an array with each name at most once", given));
                }
                Val::Flags(names.iter().filter(|name| items.iter().any(|item| item == *name)).cloned().collect())
            }
        })
    }

    fn items<'a>(&mut self, items: &[Value], shapes: impl Iterator<Item = &'a Shape>) -> Result<Vec<Val>, String> {
        let both = items.iter().zip(shapes).enumerate();
        both.map(|(index, (item, shape))| self.at(&format!("[{index}]"), |reader| reader.value(shape, item))).collect()
    }

    /// Returns the name of a case, and its value if it has one.
    fn case<'a>(&self, given: &'a Value, wanted: &str) -> Result<(&'a str, Option<&'a Value>), String> {
        match given {
            Value::String(name) => Ok((name, None)),
            Value::Object(only) if only.len() == 1 => {
                let (name, value) = only.iter().next().ok_or_else(|| self.wrong(wanted, given))?;
                Ok((name, Some(value)))
            }
            _ => Err(self.wrong(wanted, given)),
        }
    }

    fn text<'a>(&self, given: &'a Value) -> Result<&'a str, String> {
        given.as_str().ok_or_else(|| self.wrong("a string", given))
    }

    fn signed<T: TryFrom<i64>>(&self, given: &Value, least: i64, most: i64) -> Result<T, String> {
        let number = given.as_i64().or_else(|| whole(given));
        let number = number.or_else(|| if most == i64::MAX { given.as_str()?.parse().ok() } else { None });
        let number = number.filter(|number| (least..=most).contains(number)).and_then(|number| number.try_into().ok());
        number.ok_or_else(|| self.wrong(&format!("a whole number from {least} to {most}"), given))
    }

    fn unsigned<T: TryFrom<u64>>(&self, given: &Value, most: u64) -> Result<T, String> {
        let number = given.as_u64().or_else(|| whole(given));
        let number = number.or_else(|| if most == u64::MAX { given.as_str()?.parse().ok() } else { None });
        let number = number.filter(|number| *number <= most).and_then(|number| number.try_into().ok());
        number.ok_or_else(|| self.wrong(&format!("a whole number from 0 to {most}"), given))
    }

    fn double(&self, given: &Value) -> Result<f64, String> {
        let named = match given.as_str() {
            Some("NaN") => Some(f64::NAN),
            Some("Infinity") => Some(f64::INFINITY),
            Some("-Infinity") => Some(f64::NEG_INFINITY),
            _ => None,
        };
        let number = named.or_else(|| given.as_f64());
        number.ok_or_else(|| self.wrong(&format!("a number or one of {}", one_of(NO_NUMBERS.iter())), given))
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float is what is wanted")]
    fn float(&self, given: &Value) -> Result<f32, String> {
        let exact = self.double(given)?;
        let rounded = exact as f32;
        if exact.is_finite() && rounded.is_infinite() {
            return Err(self.wrong("a number that fits into 32 bits", given));
        }
        Ok(rounded)
    }
}

/// Returns a float that is a whole number, such as 3.0: JSON knows no difference, and some writers none either.
fn whole<T: std::str::FromStr>(given: &Value) -> Option<T> {
    const MOST: f64 = 9_007_199_254_740_991.0;
    let number = given.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= MOST)?;
    format!("{number:.0}").parse().ok()
}

fn one_of(names: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let names: Vec<_> = names.take(16).map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

/// Values on their way out.
struct Writer {
    left: usize,
}

impl Writer {
    fn value(&mut self, shape: &Shape, value: &Val) -> Result<Value, String> {
        self.left =
            self.left.checked_sub(1).ok_or_else(|| format!("the result is made of more than {VALUES_MAX} values"))?;
        Ok(match (shape, value) {
            (Shape::Bool, Val::Bool(value)) => json!(value),
            (Shape::S8, Val::S8(value)) => json!(value),
            (Shape::U8, Val::U8(value)) => json!(value),
            (Shape::S16, Val::S16(value)) => json!(value),
            (Shape::U16, Val::U16(value)) => json!(value),
            (Shape::S32, Val::S32(value)) => json!(value),
            (Shape::U32, Val::U32(value)) => json!(value),
            (Shape::S64, Val::S64(value)) if value.unsigned_abs() <= EXACT_MAX => json!(value),
            (Shape::S64, Val::S64(value)) => json!(value.to_string()),
            (Shape::U64, Val::U64(value)) if *value <= EXACT_MAX => json!(value),
            (Shape::U64, Val::U64(value)) => json!(value.to_string()),
            (Shape::F32, Val::Float32(value)) => number(f64::from(*value)),
            (Shape::F64, Val::Float64(value)) => number(*value),
            (Shape::Char, Val::Char(value)) => json!(value.to_string()),
            (Shape::String, Val::String(value)) => json!(value),
            (Shape::Bytes, Val::List(items)) => {
                let bytes = items.iter().map(|item| if let Val::U8(byte) = item { Some(*byte) } else { None });
                json!(STANDARD.encode(bytes.collect::<Option<Vec<_>>>().ok_or_else(mismatch)?))
            }
            (Shape::List(shape), Val::List(items)) => {
                Value::Array(items.iter().map(|item| self.value(shape, item)).collect::<Result<_, _>>()?)
            }
            (Shape::Tuple(shapes), Val::Tuple(items)) if shapes.len() == items.len() => {
                let both = shapes.iter().zip(items);
                Value::Array(both.map(|(shape, item)| self.value(shape, item)).collect::<Result<_, _>>()?)
            }
            (Shape::Record(shapes), Val::Record(fields)) if shapes.len() == fields.len() => {
                let both = shapes.iter().zip(fields);
                let written = both.map(|((name, shape), (_, value))| Ok((name.clone(), self.value(shape, value)?)));
                Value::Object(written.collect::<Result<Map<_, _>, String>>()?)
            }
            (Shape::Variant(cases), Val::Variant(name, payload)) => {
                let (_, shape) = cases.iter().find(|(known, _)| known == name).ok_or_else(mismatch)?;
                match (shape, payload) {
                    (None, None) => json!(name),
                    (Some(shape), Some(payload)) => tagged(name, self.value(shape, payload)?),
                    _ => return Err(mismatch()),
                }
            }
            (Shape::Enum(_), Val::Enum(name)) => json!(name),
            (Shape::Option(_), Val::Option(None)) => Value::Null,
            (Shape::Option(shape), Val::Option(Some(value))) => {
                let written = self.value(shape, value)?;
                if shape.takes_null() { tagged("some", written) } else { written }
            }
            (Shape::Result(ok, err), Val::Result(value)) => {
                let (name, shape, payload) = match value {
                    Ok(payload) => ("ok", ok, payload),
                    Err(payload) => ("err", err, payload),
                };
                tagged(
                    name,
                    match (shape, payload) {
                        (None, None) => Value::Null,
                        (Some(shape), Some(payload)) => self.value(shape, payload)?,
                        _ => return Err(mismatch()),
                    },
                )
            }
            (Shape::Flags(_), Val::Flags(names)) => json!(names),
            _ => return Err(mismatch()),
        })
    }
}

fn mismatch() -> String {
    "the result is not of the type that the tool was uploaded with".to_owned()
}

fn tagged(name: &str, value: Value) -> Value {
    Value::Object([(name.to_owned(), value)].into_iter().collect())
}

fn number(value: f64) -> Value {
    let named = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    Number::from_f64(value).map_or_else(|| json!(named), Value::Number)
}

#[cfg(test)]
mod tests;
