//! `sandglass openapi`: the description of the REST API.

use clap::Args;

use super::console::Console;
use super::failure::{Failure, exit};

/// Print the OpenAPI document of the REST API. Needs no service.
#[derive(Debug, Args)]
pub(crate) struct Openapi {}

impl Openapi {
    #[expect(clippy::unused_self, reason = "every command is run the same way")]
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        console.print(crate::openapi::document_text().trim_end())?;
        Ok(exit::OK)
    }
}
