//! The types of a component's functions, as plain data: read once from the component, bounded, and kept with the tool.
//!
//! A component chooses its types, so they are counted before they are built: nesting, how many there are, and their names.

use serde::{Deserialize, Serialize};
use wasmtime::component::types::Type;

/// How deep types may be nested: many JSON readers stop at 128, and a level of a type is up to four of its schema.
const DEPTH_MAX: usize = 24;
/// How many types a component's functions may be made of together, each counted wherever it is used.
const NODES_MAX: usize = 4_000;
/// Bytes that all names in them may have together.
const NAMES_BYTES_MAX: usize = 64 << 10;

/// A type of WIT whose values can be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    /// `list<u8>`.
    Bytes,
    List(Box<Self>),
    Record(Vec<(String, Self)>),
    Tuple(Vec<Self>),
    Variant(Vec<(String, Option<Self>)>),
    Enum(Vec<String>),
    Option(Box<Self>),
    Result(Option<Box<Self>>, Option<Box<Self>>),
    Flags(Vec<String>),
}

/// What may still be read of a component's types.
pub(crate) struct Budget {
    nodes: usize,
    names_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { nodes: NODES_MAX, names_bytes: NAMES_BYTES_MAX }
    }
}

impl Budget {
    /// Takes a name, if there is room for it.
    pub(crate) fn name(&mut self, name: &str) -> Result<String, String> {
        self.names_bytes = self
            .names_bytes
            .checked_sub(name.len())
            .ok_or_else(|| format!("the names in its types have more than {NAMES_BYTES_MAX} bytes together"))?;
        Ok(name.to_owned())
    }

    fn node(&mut self) -> Result<(), String> {
        self.nodes = self
            .nodes
            .checked_sub(1)
            .ok_or_else(|| format!("its functions are made of more than {NODES_MAX} types together"))?;
        Ok(())
    }
}

impl Shape {
    /// Reads a type.
    ///
    /// # Errors
    /// In words: it is too large, or of a kind whose values are no data.
    pub(crate) fn read(ty: &Type, budget: &mut Budget) -> Result<Self, String> {
        Self::read_at(ty, budget, 0)
    }

    fn read_at(ty: &Type, budget: &mut Budget, depth: usize) -> Result<Self, String> {
        budget.node()?;
        if depth >= DEPTH_MAX {
            return Err(format!("types are nested deeper than {DEPTH_MAX}"));
        }
        let mut inner = |ty: &Type| Self::read_at(ty, budget, depth + 1);
        Ok(match ty {
            Type::Bool => Self::Bool,
            Type::S8 => Self::S8,
            Type::U8 => Self::U8,
            Type::S16 => Self::S16,
            Type::U16 => Self::U16,
            Type::S32 => Self::S32,
            Type::U32 => Self::U32,
            Type::S64 => Self::S64,
            Type::U64 => Self::U64,
            Type::Float32 => Self::F32,
            Type::Float64 => Self::F64,
            Type::Char => Self::Char,
            Type::String => Self::String,
            Type::List(list) => match list.ty() {
                Type::U8 => Self::Bytes,
                item => Self::List(Box::new(inner(&item)?)),
            },
            Type::Record(record) => {
                let fields = record.fields().map(|field| {
                    let shape = Self::read_at(&field.ty, budget, depth + 1)?;
                    Ok((budget.name(field.name)?, shape))
                });
                Self::Record(fields.collect::<Result<_, String>>()?)
            }
            Type::Tuple(tuple) => Self::Tuple(tuple.types().map(|ty| inner(&ty)).collect::<Result<_, _>>()?),
            Type::Variant(variant) => {
                let cases = variant.cases().map(|case| {
                    let shape = case.ty.map(|ty| Self::read_at(&ty, budget, depth + 1)).transpose()?;
                    Ok((budget.name(case.name)?, shape))
                });
                Self::Variant(cases.collect::<Result<_, String>>()?)
            }
            Type::Enum(names) => Self::Enum(names.names().map(|name| budget.name(name)).collect::<Result<_, _>>()?),
            Type::Flags(names) => Self::Flags(names.names().map(|name| budget.name(name)).collect::<Result<_, _>>()?),
            Type::Option(option) => Self::Option(Box::new(inner(&option.ty())?)),
            Type::Result(result) => {
                let mut side = |ty: Option<Type>| ty.map(|ty| inner(&ty).map(Box::new)).transpose();
                Self::Result(side(result.ok())?, side(result.err())?)
            }
            Type::Own(_) | Type::Borrow(_) => {
                return Err(
                    "it has a resource, and a tool's values are plain data: a fresh instance serves each call, \
                            so a handle would mean nothing afterwards"
                        .to_owned(),
                );
            }
            Type::Future(_) | Type::Stream(_) | Type::ErrorContext => {
                return Err("it has a future or a stream, and a tool's values are plain data".to_owned());
            }
            Type::Map(_) | Type::FixedLengthList(_) => {
                return Err("it has a map or a list of fixed length, which this version does not know".to_owned());
            }
        })
    }

    /// Says whether `null` is a value of it.
    pub(crate) const fn takes_null(&self) -> bool {
        matches!(self, Self::Option(_))
    }

    /// Writes it as WIT does, as far as that goes without the names of types; not more than `room` bytes.
    pub(crate) fn write(&self, out: &mut String, room: usize) {
        if out.len() > room {
            return;
        }
        let list = |out: &mut String, shapes: &mut dyn Iterator<Item = (Option<&str>, Option<&Self>)>| {
            for (index, (name, shape)) in shapes.enumerate() {
                if out.len() > room {
                    return;
                }
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(name.unwrap_or_default());
                if let Some(shape) = shape {
                    out.push_str(if name.is_some() { ": " } else { "" });
                    shape.write(out, room);
                }
            }
        };
        let word = match self {
            Self::Bool => "bool",
            Self::S8 => "s8",
            Self::U8 => "u8",
            Self::S16 => "s16",
            Self::U16 => "u16",
            Self::S32 => "s32",
            Self::U32 => "u32",
            Self::S64 => "s64",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::String => "string",
            Self::Bytes => "list<u8>",
            Self::List(item) => return wrapped(out, "list<", ">", |out| item.write(out, room)),
            Self::Option(value) => return wrapped(out, "option<", ">", |out| value.write(out, room)),
            Self::Tuple(items) => {
                return wrapped(out, "tuple<", ">", |out| list(out, &mut items.iter().map(|item| (None, Some(item)))));
            }
            Self::Record(fields) => {
                return wrapped(out, "record { ", " }", |out| {
                    list(out, &mut fields.iter().map(|(name, shape)| (Some(&**name), Some(shape))));
                });
            }
            Self::Variant(cases) => {
                return wrapped(out, "variant { ", " }", |out| {
                    list(out, &mut cases.iter().map(|(name, shape)| (Some(&**name), shape.as_ref())));
                });
            }
            Self::Enum(names) | Self::Flags(names) => {
                let open = if matches!(self, Self::Enum(_)) { "enum { " } else { "flags { " };
                return wrapped(out, open, " }", |out| list(out, &mut names.iter().map(|name| (Some(&**name), None))));
            }
            Self::Result(None, None) => "result",
            Self::Result(ok, err) => {
                return wrapped(out, "result<", ">", |out| {
                    match ok {
                        Some(ok) => ok.write(out, room),
                        None => out.push('_'),
                    }
                    if let Some(err) = err {
                        out.push_str(", ");
                        err.write(out, room);
                    }
                });
            }
        };
        out.push_str(word);
    }
}

fn wrapped(out: &mut String, open: &str, close: &str, within: impl FnOnce(&mut String)) {
    out.push_str(open);
    within(out);
    out.push_str(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_reads_as_in_wit() {
        let shape = Shape::Result(
            Some(Box::new(Shape::List(Box::new(Shape::Record(vec![
                ("x".to_owned(), Shape::Option(Box::new(Shape::U8))),
                ("raw".to_owned(), Shape::Bytes),
            ]))))),
            Some(Box::new(Shape::Variant(vec![("none".to_owned(), None), ("some".to_owned(), Some(Shape::Char))]))),
        );
        let mut out = String::new();
        shape.write(&mut out, 1000);
        assert_eq!(out, "result<list<record { x: option<u8>, raw: list<u8> }>, variant { none, some: char }>");
        let mut short = String::new();
        Shape::Tuple(vec![Shape::String; 10_000]).write(&mut short, 100);
        assert!(short.len() < 200);
    }
}
