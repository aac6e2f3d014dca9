//! The sandbox alone, for the tests of this crate.

fn main() -> std::process::ExitCode {
    adit_sandbox::main_alone()
}
