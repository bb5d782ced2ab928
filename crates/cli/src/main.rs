//! The binary `fmam`.

fn main() -> std::process::ExitCode {
    fmam_cli::run(std::env::args_os())
}
