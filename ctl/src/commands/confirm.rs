//! Asking before something is done.

use crate::failure::{Failure, Result};
use std::io::{IsTerminal, Write, stderr, stdin};

/// Asks before something is done, unless `yes`. Without a terminal nobody can answer.
///
/// # Errors
/// When the answer is no, or nobody can answer.
pub async fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} Nobody is there to answer: say --yes")));
    }
    eprint!("{question} [y/N] ");
    stderr().flush()?;
    // On a thread of its own, so that connections stay alive and Ctrl-C is heard meanwhile.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.map_err(|error| Failure::failed(error.to_string()))??;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::failed("nothing was done"))
    }
}
