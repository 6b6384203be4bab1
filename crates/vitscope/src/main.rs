//! The program `vitscope`.

fn main() -> std::process::ExitCode {
    vitscope_command::run(std::env::args_os()).into()
}
