//! What is said of an uploaded tool and of its functions, for models and people to read.

use std::collections::BTreeMap;

use super::interface::Interface;
use super::shelf::Label;
use crate::error::Error;

/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4096;
/// What the descriptions of all functions of a tool may have together, in bytes.
const DESCRIPTIONS_BYTES_MAX: usize = 128 << 10;

/// What shall be said of a tool from now on. What is not here stays as it is; an empty text takes a description away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolWords {
    /// What the tool is good for.
    pub description: Option<String>,
    /// What functions do, by the names that calls have for them.
    pub functions: BTreeMap<String, String>,
}

impl ToolWords {
    /// Returns the label of a tool of which this is said too.
    ///
    /// # Errors
    /// The tool has no such function, or a text is too long.
    pub(super) fn onto(self, label: &Label) -> Result<Label, Error> {
        let mut label = label.clone();
        if let Some(text) = self.description {
            label.description = checked(Some(text))?;
        }
        let names = names(&label.name, &label.interface);
        for (name, text) in self.functions {
            if !names.contains(&name) {
                let shown: String = name.chars().take(120).collect();
                let there: Vec<_> = names.into_iter().take(20).collect();
                let message = format!("the tool `{}` has no function `{shown}`", label.name);
                return Err(
                    Error::invalid("unknown_function", message).hinted(format!("there are: {}", there.join(", ")))
                );
            }
            match checked(Some(text))? {
                Some(text) => label.function_descriptions.insert(name, text),
                None => label.function_descriptions.remove(&name),
            };
        }
        if label.function_descriptions.values().map(String::len).sum::<usize>() > DESCRIPTIONS_BYTES_MAX {
            let message =
                format!("the descriptions of a tool's functions may have {DESCRIPTIONS_BYTES_MAX} bytes together");
            return Err(Error::invalid("invalid_description", message));
        }
        Ok(label)
    }
}

/// Returns a description as it is kept: nothing if there is nothing in it.
pub(super) fn checked(description: Option<String>) -> Result<Option<String>, Error> {
    let description = description.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
        let message = format!("a description may have {DESCRIPTION_BYTES_MAX} bytes");
        return Err(Error::invalid("invalid_description", message));
    }
    Ok(description)
}

/// Returns what was said of the functions of `before` that an upload in its place has too.
pub(super) fn kept(before: &Label, interface: &Interface) -> BTreeMap<String, String> {
    let names = names(&before.name, interface);
    before.function_descriptions.clone().into_iter().filter(|(name, _)| names.contains(name)).collect()
}

/// Returns what calls name of a tool.
fn names(tool: &str, interface: &Interface) -> Vec<String> {
    let program = interface.is_command().then(|| tool.to_owned());
    program.into_iter().chain(interface.functions.iter().map(|function| format!("{tool}.{}", function.name))).collect()
}
