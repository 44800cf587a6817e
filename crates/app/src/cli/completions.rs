//! `larder completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::failure::Outcome;
use super::output::Output;

/// Print the completions of a shell
///
/// For bash: `larder completions bash > ~/.local/share/bash-completion/completions/larder`.
/// For zsh, into a directory of `$fpath`: `larder completions zsh > ~/.zfunc/_larder`.
/// For fish: `larder completions fish > ~/.config/fish/completions/larder.fish`.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, output: &mut Output) -> Outcome {
        // Into memory first: the generator panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut super::Cli::command(),
            "larder",
            &mut script,
        );
        std::io::Write::write_all(output.results(), &script)?;
        Ok(())
    }
}
