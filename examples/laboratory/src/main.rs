//! fmam with a method and a backbone of this laboratory; `laboratory list` shows both.

mod deviation;
mod narrow;

fn main() -> std::process::ExitCode {
    let registry = fmam::Registry::builtin();
    fmam_cli::run(&registry.with_method(&deviation::DEVIATION).with_backbone(&narrow::NARROW))
}
