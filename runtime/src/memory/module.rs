//! Rewriting a guest's module so that its data belongs to an image and to no instance, and checking what it may be.
//!
//! An active data segment is written into every new instance: over the image that is mapped there. So all of them become passive,
//! and a function that writes them is added (`FILL`). The host calls it once, in an instance of zeros, to make the first image.
//! Nothing else of the module changes, not a byte of its code.
//!
//! A module may have *sessions* when its memory and its globals are all that an instance is: no table changes, nothing is dropped,
//! no global holds a reference. That is proved here from the module itself, not assumed.

use std::sync::Arc;

use futures_util::FutureExt as _;
use wasm_encoder::{Encode as _, ExportKind, Function, Instruction, RawSection, SectionId};
use wasmparser::{BinaryReader, BinaryReaderError, DataKind, Operator, Parser, Payload, TypeRef, ValType};
use wasmtime::{Engine, ExternType, Linker, Module, Store};

use super::Image;

/// The added function that writes the data.
const FILL: &str = "sandglass:fill";
/// A second name of it, when the module may have sessions.
const SESSIONS: &str = "sandglass:sessions";
/// The name of a changeable global, before its number.
pub(crate) const GLOBAL: &str = "sandglass:global:";

/// Why a module cannot be a guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// It is no module as the standard has it.
    #[error("the module cannot be read: {0}")]
    Malformed(#[from] BinaryReaderError),
    /// It needs what memory images have no place for.
    #[error("the module {0}")]
    Unsupported(&'static str),
}

/// Rewrites a module.
///
/// # Errors
/// It is malformed, or cannot begin from an image.
pub(crate) fn rewrite(wasm: &[u8]) -> Result<Vec<u8>, Unfit> {
    let found = Found::in_module(wasm)?;
    let mut out = wasm_encoder::Module::new();
    let mut has_data_count = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else { continue };
        let section = &wasm[range];
        let is = |kind: SectionId| id == u8::from(kind);
        has_data_count |= is(SectionId::DataCount);
        let data = if is(SectionId::Type) {
            // () -> ()
            with(section, &[vec![0x60, 0, 0]])?
        } else if is(SectionId::Function) {
            with(section, &[encoded(found.types)])?
        } else if is(SectionId::Export) {
            with(section, &found.exports())?
        } else if is(SectionId::Code) {
            if !has_data_count {
                out.section(&RawSection { id: SectionId::DataCount.into(), data: &encoded(found.segments) });
            }
            let mut fill = Vec::new();
            found.fill().encode(&mut fill);
            with(section, &[fill])?
        } else if is(SectionId::Data) {
            passive(section)?
        } else {
            section.to_vec()
        };
        out.section(&RawSection { id, data: &data });
    }
    Ok(out.finish())
}

/// What a module has, as far as it matters.
#[derive(Default)]
struct Found {
    types: u32,
    functions: u32,
    exports: u32,
    segments: u32,
    /// Where each active segment goes: number, offset, length.
    placed: Vec<(u32, i32, u32)>,
    /// The globals that can change.
    globals: Vec<u32>,
    has_code: bool,
    keeps_more: bool,
}

impl Found {
    fn in_module(wasm: &[u8]) -> Result<Self, Unfit> {
        let mut found = Self::default();
        let (mut globals, mut memories) = (0, 0);
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => found.types = section.count(),
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) => found.functions += 1,
                            _ => return Err(Unfit::Unsupported("imports what is no function")),
                        }
                    }
                }
                Payload::FunctionSection(section) => found.functions += section.count(),
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        memories += 1;
                        if memory.shared || memory.memory64 {
                            return Err(Unfit::Unsupported("has a memory that is shared or has 64-bit addresses"));
                        }
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let kind = global?.ty;
                        if kind.mutable {
                            found.globals.push(globals);
                            found.keeps_more |= matches!(kind.content_type, ValType::Ref(_) | ValType::V128);
                        }
                        globals += 1;
                    }
                }
                Payload::StartSection { .. } => return Err(Unfit::Unsupported("has a start function")),
                Payload::ExportSection(section) => found.exports = section.count(),
                Payload::CodeSectionEntry(body) => {
                    found.has_code = true;
                    if !found.keeps_more {
                        for operator in body.get_operators_reader()? {
                            if keeps(&operator?) {
                                found.keeps_more = true;
                                break;
                            }
                        }
                    }
                }
                Payload::DataSection(section) => {
                    found.segments = section.count();
                    for (number, segment) in (0..).zip(section) {
                        let segment = segment?;
                        if let DataKind::Active { offset_expr, .. } = segment.kind {
                            let mut operators = offset_expr.get_operators_reader();
                            let Operator::I32Const { value } = operators.read()? else {
                                return Err(Unfit::Unsupported("computes where its data goes"));
                            };
                            let length = u32::try_from(segment.data.len())
                                .map_err(|_| Unfit::Unsupported("has more data than memory"))?;
                            found.placed.push((number, value, length));
                        }
                    }
                }
                _ => {}
            }
        }
        found.keeps_more |= memories != 1;
        if !found.has_code || found.exports == 0 {
            return Err(Unfit::Unsupported("has no code, or exports nothing"));
        }
        Ok(found)
    }

    fn exports(&self) -> Vec<Vec<u8>> {
        let export = |name: &str, kind: ExportKind, index: u32| {
            let mut item = Vec::new();
            name.encode(&mut item);
            kind.encode(&mut item);
            index.encode(&mut item);
            item
        };
        let mut items = vec![export(FILL, ExportKind::Func, self.functions)];
        if !self.keeps_more {
            items.push(export(SESSIONS, ExportKind::Func, self.functions));
        }
        items.extend(self.globals.iter().map(|index| export(&format!("{GLOBAL}{index}"), ExportKind::Global, *index)));
        items
    }

    fn fill(&self) -> Function {
        let mut fill = Function::new([]);
        for (segment, offset, length) in &self.placed {
            fill.instruction(&Instruction::I32Const(*offset))
                .instruction(&Instruction::I32Const(0))
                .instruction(&Instruction::I32Const(length.cast_signed()))
                .instruction(&Instruction::MemoryInit { mem: 0, data_index: *segment });
        }
        fill.instruction(&Instruction::End);
        fill
    }
}

/// Says whether an instruction changes something of an instance besides memory and globals of numbers.
const fn keeps(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableInit { .. }
            | Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::ElemDrop { .. }
            | Operator::MemoryInit { .. }
            | Operator::DataDrop { .. }
            | Operator::ContNew { .. }
            | Operator::Suspend { .. }
            | Operator::Resume { .. }
    )
}

fn encoded(number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    number.encode(&mut bytes);
    bytes
}

/// Returns a section that is a list with more items at its end.
fn with(section: &[u8], items: &[Vec<u8>]) -> Result<Vec<u8>, Unfit> {
    let mut reader = BinaryReader::new(section, 0);
    let count = reader.read_var_u32()?;
    let more = u32::try_from(items.len()).map_err(|_| Unfit::Unsupported("has too many globals"))?;
    let mut out = encoded(count.checked_add(more).ok_or(Unfit::Unsupported("is too large"))?);
    out.extend_from_slice(&section[reader.current_position()..]);
    items.iter().for_each(|item| out.extend_from_slice(item));
    Ok(out)
}

/// Returns the data section with all segments passive; their bytes stay, for the one instance that writes them.
fn passive(section: &[u8]) -> Result<Vec<u8>, Unfit> {
    const PASSIVE: u8 = 1;
    let segments = wasmparser::DataSectionReader::new(BinaryReader::new(section, 0))?;
    let mut out = encoded(segments.count());
    for segment in segments {
        out.push(PASSIVE);
        segment?.data.encode(&mut out);
    }
    Ok(out)
}

/// Makes the image that instances of a rewritten module begin with.
///
/// # Errors
/// It is no such module, or the host has no memory.
pub(crate) fn first_image(engine: &Engine, module: &Module) -> wasmtime::Result<Arc<Image>> {
    let minimum = module.exports().find_map(|export| match export.ty() {
        ExternType::Memory(memory) if export.name() == "memory" => Some(memory.minimum()),
        _ => None,
    });
    let pages = minimum.ok_or_else(|| wasmtime::Error::msg("the module exports no memory"))?;
    let mut linker = Linker::new(engine);
    linker.define_unknown_imports_as_traps(module)?;
    let mut store = Store::new(engine, ());
    store.set_fuel(u64::MAX)?;
    let instance = linker.instantiate_async(&mut store, module).now_or_never();
    let instance = instance.ok_or_else(|| wasmtime::Error::msg("making an instance has to wait"))??;
    let fill = instance.get_typed_func::<(), ()>(&mut store, FILL)?;
    fill.call_async(&mut store, ())
        .now_or_never()
        .ok_or_else(|| wasmtime::Error::msg("filling a memory has to wait"))??;
    let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
    Ok(Arc::new(Image::new(memory.data(&store), usize::try_from(pages << 16)?)?))
}

/// Says whether a rewritten module may have sessions.
pub(crate) fn may_have_sessions(module: &Module) -> bool {
    module.get_export(SESSIONS).is_some()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn rewritten(text: &str) -> Result<(Engine, Module), Unfit> {
        let wasm = rewrite(&wat::parse_str(text).unwrap())?;
        let engine = crate::engine::new().unwrap();
        let module = Module::new(&engine, wasm).unwrap();
        Ok((engine, module))
    }

    #[test]
    fn data_is_in_the_image_and_instances_begin_with_it() {
        let (engine, module) = rewritten(
            r#"(module
                (import "host" "f" (func))
                (memory (export "memory") 2)
                (global (mut i32) (i32.const 7))
                (global i32 (i32.const 8))
                (global (mut i64) (i64.const 9))
                (data (i32.const 100) "hello")
                (data (i32.const 65530) "across")
                (func (export "first") (result i32) (i32.load8_u (i32.const 100))))"#,
        )
        .unwrap();
        let image = first_image(&engine, &module).unwrap();
        let mut memory = vec![0; image.bytes()];
        image.file().read_exact_at(&mut memory, 0).unwrap();
        assert_eq!((&memory[100..105], &memory[65_530..65_536]), (&b"hello"[..], &b"across"[..]));
        assert_eq!(memory.iter().filter(|byte| **byte != 0).count(), 11);
        assert!(may_have_sessions(&module));
        let globals: Vec<&str> =
            module.exports().map(|export| export.name()).filter(|name| name.starts_with(GLOBAL)).collect();
        assert_eq!(globals, ["sandglass:global:0", "sandglass:global:2"]);
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&module).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_fuel(1000).unwrap();
        let ready = linker.instantiate_pre(&module).unwrap();
        let instance = crate::memory::instantiate(&ready, &mut store, &image).now_or_never().unwrap().unwrap();
        let first = instance.get_typed_func::<(), u32>(&mut store, "first").unwrap();
        assert_eq!(first.call_async(&mut store, ()).now_or_never().unwrap().unwrap(), u32::from(b'h'));
    }

    #[test]
    fn what_an_instance_keeps_elsewhere_rules_sessions_out() {
        for keeps in [
            r#"(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))"#,
            r#"(data "x") (func (data.drop 0))"#,
            r#"(global (mut funcref) (ref.null func))"#,
        ] {
            let (_, module) =
                rewritten(&format!(r#"(module (memory (export "memory") 1) (func (export "f")) {keeps})"#)).unwrap();
            assert!(!may_have_sessions(&module), "{keeps}");
        }
    }

    #[test]
    fn what_cannot_begin_from_an_image_is_refused() {
        for (text, why) in [
            (r#"(module (memory (export "memory") 1) (func $f) (start $f))"#, "a start function"),
            (r#"(module (import "a" "m" (memory 1)) (func (export "f")))"#, "no function"),
            (r#"(module (memory 1))"#, "no code"),
        ] {
            let error = rewritten(text).map(drop).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        rewrite(b"\0asm\x01\0\0\0\x01\xff").unwrap_err();
    }
}
