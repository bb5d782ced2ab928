//! The binary `fmam`.

fn main() -> std::process::ExitCode {
    fmam_cli::run(&fmam::Registry::builtin())
}
