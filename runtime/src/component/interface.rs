//! What a component offers and asks for: its functions, and whether its imports can be had.

use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem};

use super::shape::{Budget, Shape};

/// Functions that one component may offer.
const FUNCTIONS_MAX: usize = 256;
/// The longest name of a function with its interface, in bytes: the log has room for 255 with the tool's name.
const FUNCTION_NAME_BYTES_MAX: usize = 160;
/// What WASI calls a program's entry.
const RUN: &str = "wasi:cli/run@0.2.";
/// What componentize-py leaves exported of its own: it ran when the component was made, and is nobody's tool.
const SET_UP: &str = "exports";
/// What there is to import, without versions; every 0.2 will do.
const OFFERED: [&str; 17] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/*",
    "wasi:io/*",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// A function of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    /// What stands after the tool's name: `function`, or `interface.function`.
    pub(crate) name: String,
    /// The exported interface that it is in, by its full name.
    pub(crate) interface: Option<String>,
    /// Its name there.
    pub(crate) export: String,
    pub(crate) parameters: Vec<(String, Shape)>,
    pub(crate) result: Option<Shape>,
}

/// What can be called of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interface {
    /// Its entry as a program, in a component: the export's full name.
    pub(crate) run: Option<String>,
    /// Whether it is no component but a core module with `_start`.
    pub(crate) is_module: bool,
    pub(crate) functions: Vec<Function>,
}

impl Interface {
    /// Returns what a core module with `_start` offers.
    pub(crate) const fn of_module() -> Self {
        Self { run: None, is_module: true, functions: Vec::new() }
    }

    /// Reads what a component offers.
    ///
    /// # Errors
    /// In words: it offers nothing, or something that can't be a tool.
    pub(crate) fn of(component: &Component, engine: &Engine) -> Result<Self, String> {
        let mut interface = Self { run: None, is_module: false, functions: Vec::new() };
        let mut budget = Budget::default();
        for (name, export) in component.component_type().exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(function) => interface.add(None, name, &function, &mut budget)?,
                ComponentItem::ComponentInstance(_) if name.starts_with(RUN) => {
                    interface.run = Some(budget.name(name)?);
                }
                ComponentItem::ComponentInstance(_) if name == SET_UP => {}
                ComponentItem::ComponentInstance(instance) => {
                    for (export, item) in instance.exports(engine) {
                        match item.ty {
                            ComponentItem::ComponentFunc(function) => {
                                interface.add(Some(name), export, &function, &mut budget)?;
                            }
                            ComponentItem::Type(_) => {}
                            ComponentItem::Resource(_) => {
                                return Err(format!(
                                    "{} exports the resource `{}`, and a tool has functions of plain data alone: a fresh \
                                     instance serves each call, so a handle would mean nothing afterwards",
                                    shown(name),
                                    shown(export)
                                ));
                            }
                            _ => {
                                return Err(format!(
                                    "{} exports `{}`, which is no function",
                                    shown(name),
                                    shown(export)
                                ));
                            }
                        }
                    }
                }
                ComponentItem::Type(_) => {}
                ComponentItem::Resource(_) => {
                    return Err(format!(
                        "it exports the resource `{}`; a tool has functions of plain data alone",
                        shown(name)
                    ));
                }
                _ => return Err(format!("it exports `{}`, which is neither a function nor an interface", shown(name))),
            }
        }
        if interface.run.is_none() && interface.functions.is_empty() {
            return Err("it exports no function, and no wasi:cli/run".to_owned());
        }
        // A component's own order is no order that a compiler keeps.
        interface.functions.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(interface)
    }

    fn add(
        &mut self,
        instance: Option<&str>,
        export: &str,
        function: &ComponentFunc,
        budget: &mut Budget,
    ) -> Result<(), String> {
        let name = match instance {
            None => export.to_owned(),
            Some(instance) => format!("{}.{export}", short(instance)),
        };
        let refused = |why: String| format!("`{}`: {why}", shown(&name));
        if self.functions.len() >= FUNCTIONS_MAX {
            return Err(format!("it exports more than {FUNCTIONS_MAX} functions"));
        }
        if name.len() > FUNCTION_NAME_BYTES_MAX {
            return Err(refused(format!("its name has more than {FUNCTION_NAME_BYTES_MAX} bytes")));
        }
        if self.functions.iter().any(|known| known.name == name) {
            return Err(refused(
                "two of the exported interfaces have this name; tools are named without package".to_owned(),
            ));
        }
        if function.async_() {
            return Err(refused("it is asynchronous, which this version does not know".to_owned()));
        }
        let parameters = function
            .params()
            .map(|(parameter, ty)| Ok((budget.name(parameter)?, Shape::read(&ty, budget).map_err(&refused)?)));
        let parameters = parameters.collect::<Result<Vec<_>, String>>()?;
        let mut results = function.results();
        let result = results.next().map(|ty| Shape::read(&ty, budget).map_err(&refused)).transpose()?;
        if results.next().is_some() {
            return Err(refused("it has several results".to_owned()));
        }
        let interface = instance.map(|instance| budget.name(instance)).transpose()?;
        let export = budget.name(export)?;
        self.functions.push(Function { name, interface, export, parameters, result });
        Ok(())
    }

    /// Returns the function of this name, or the only one there is.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<(usize, &Function)> {
        match name {
            Some(name) => self.functions.iter().enumerate().find(|(_, function)| function.name == name),
            None if self.functions.len() == 1 => self.functions.iter().enumerate().next(),
            None => None,
        }
    }

    /// Says whether it can be called as a program, with arguments and standard input.
    pub(crate) const fn is_command(&self) -> bool {
        self.is_module || self.run.is_some()
    }
}

impl Function {
    /// Returns how WIT would write it, cut where it gets long.
    pub(crate) fn signature(&self) -> String {
        const ROOM: usize = 600;
        let mut out = format!("{}: func(", self.export);
        for (index, (name, shape)) in self.parameters.iter().enumerate() {
            if out.len() > ROOM {
                break;
            }
            out.push_str(if index == 0 { "" } else { ", " });
            out.push_str(name);
            out.push_str(": ");
            shape.write(&mut out, ROOM);
        }
        out.push(')');
        if let Some(result) = &self.result {
            out.push_str(" -> ");
            result.write(&mut out, ROOM);
        }
        if out.chars().count() > ROOM { out.chars().take(ROOM).chain(" ...".chars()).collect() } else { out }
    }
}

/// Returns the imports of a component that nobody gives it, by their full names.
pub(crate) fn missing(component: &Component, engine: &Engine) -> Vec<String> {
    let needs = |item: &ComponentItem| match item {
        ComponentItem::Type(_) => false,
        // Types that an interface shares with others are part of the component itself.
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).any(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
        }
        _ => true,
    };
    let ty = component.component_type();
    let imports = ty.imports(engine).filter(|(name, import)| !is_offered(name) && needs(&import.ty));
    imports.map(|(name, _)| name.to_owned()).collect()
}

fn is_offered(name: &str) -> bool {
    let Some((name, version)) = name.split_once('@') else { return false };
    let offered = |known: &&str| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *known,
    };
    version.starts_with("0.2.") && OFFERED.iter().any(offered)
}

/// Says what is missing, and what there is instead.
pub(crate) fn refusal(missing: &[String]) -> String {
    let first = shown(missing.first().map_or("", String::as_str));
    let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
    let why = if first.starts_with("wasi:sockets/") {
        "a tool has no sockets"
    } else if first.starts_with("wasi:http/") {
        "a tool has no HTTP"
    } else {
        "no tool is given that"
    };
    format!("it imports `{first}`{more}, and {why}; there are: {} (any 0.2)", OFFERED.join(", "))
}

/// Returns the name of an interface without its package and version.
fn short(interface: &str) -> &str {
    let name = interface.split_once('@').map_or(interface, |(name, _)| name);
    name.rsplit_once('/').map_or(name, |(_, short)| short)
}

/// Returns a name from a component as it can be shown: not too much of it.
fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_imports_any_second_preview() {
        assert_eq!([short("a:b/calc@0.1.0"), short("calc"), short("a:b/c")], ["calc", "calc", "c"]);
        for good in ["wasi:cli/stdin@0.2.0", "wasi:filesystem/types@0.2.12", "wasi:io/streams@0.2.6"] {
            assert!(is_offered(good), "{good}");
        }
        for bad in ["wasi:cli/stdin", "wasi:cli/stdin@0.3.0", "wasi:sockets/tcp@0.2.0", "wasi:http/types@0.2.0", "x"] {
            assert!(!is_offered(bad), "{bad}");
        }
        let text = refusal(&["wasi:http/types@0.2.0".to_owned(), "x".to_owned()]);
        assert!(text.contains("`wasi:http/types@0.2.0` and 1 more") && text.contains("wasi:filesystem/*"), "{text}");
    }
}
