//! `weft completions`: what a shell needs to complete the command.

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::output::print_bytes;

pub(crate) fn run(args: &Completions) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "weft", &mut script);
    print_bytes(&script);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_shell_has_a_script() {
        Cli::command().debug_assert();
        for shell in <clap_complete::Shell as clap::ValueEnum>::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "weft", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["completions", "link", "detach"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
