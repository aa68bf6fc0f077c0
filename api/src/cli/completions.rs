//! `sandglass completions`: what a shell needs to complete this command line.

use clap::Args;
use clap_complete::Shell;

use super::console::Console;
use super::failure::{Failure, exit};

const EXAMPLES: &str = "\
Examples:
  sandglass completions bash > ~/.local/share/bash-completion/completions/sandglass
  sandglass completions zsh > ~/.zfunc/_sandglass
  sandglass completions fish > ~/.config/fish/completions/sandglass.fish";

/// Print the completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "sandglass", &mut script);
        console.print(String::from_utf8_lossy(&script).trim_end())?;
        Ok(exit::OK)
    }
}
