//! `wharf-shim`: started by the node agent only, never by people.
//!
//! - `run BUNDLE`: becomes the shim of a container
//! - `exec BUNDLE PROCESS PIDFILE`: runs a process in a container and waits for it
//! - `seccomp`: compiles a seccomp filter from stdin to stdout

use std::path::Path;
use std::process::ExitCode;

use wharf_runtime::shim;

/// What Docker answers when a command can't be run; an agent takes it for the command's failure.
const CANNOT_RUN: u8 = 126;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["run", bundle] => shim::run(Path::new(bundle)).map(|()| 0),
        ["exec", bundle, process, pid_file] => {
            shim::exec(Path::new(bundle), Path::new(process), Path::new(pid_file))
        }
        ["seccomp"] => shim::compile(std::io::stdin().lock(), std::io::stdout().lock()).map(|()| 0),
        _ => Err(anyhow::anyhow!("wharf-shim is run by wharf-agent; see the documentation of the agent")),
    };
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(CANNOT_RUN)),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}
