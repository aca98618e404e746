//! Runs a container's health check for as long as it lives.

mod verdict;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wharf_cluster::model::{HealthCheck, HealthTest};
use wharf_runtime::api::{ContainerRuntime, ExecSpec, RuntimeError};

pub use verdict::{Health, Verdict};

/// Most characters of a check's output that a reason shows.
const SHOWN: usize = 400;

/// A container whose health is looked after.
pub struct Checked {
    /// What runs in it.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Its id.
    pub id: String,
    /// How it is checked.
    pub check: HealthCheck,
    /// When it started.
    pub started: SystemTime,
    /// Whether it has been healthy before, seen by an earlier agent.
    pub healthy: bool,
}

impl Checked {
    /// Checks until the container is unhealthy, and says why; tells when it is healthy for the first time.
    pub async fn until_unhealthy(self, mut now_healthy: impl FnMut()) -> String {
        let mut verdict = Verdict::new(&self.check, self.healthy);
        loop {
            tokio::time::sleep(verdict.pause(self.age())).await;
            let (age, before) = (self.age(), verdict.health());
            let failure = match self.once().await {
                Ok(failure) => failure,
                // It has ended or is about to: whoever waits for it hears of it.
                Err(RuntimeError::NotRunning(_) | RuntimeError::NotFound(_)) => continue,
                Err(error) => Some(format!("the check could not be run: {error}")),
            };
            match (before, verdict.record(age, failure.is_none())) {
                (Health::Starting, Health::Healthy) => now_healthy(),
                (_, Health::Unhealthy) => return format!("unhealthy: {}", failure.unwrap_or_default()),
                _ => {}
            }
            if let Some(reason) = failure {
                tracing::debug!(task = self.id, reason, "a health check failed");
            }
        }
    }

    /// One check; what went wrong, if it failed.
    async fn once(&self) -> Result<Option<String>, RuntimeError> {
        let args = match &self.check.test {
            HealthTest::Exec(words) => words.clone(),
            HealthTest::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            // Nobody starts to watch such a one.
            HealthTest::Disabled => return Ok(None),
        };
        let timeout = Duration::from_millis(self.check.timeout);
        let ran = self.runtime.exec(&self.id, ExecSpec::new(args), timeout).await?;
        let output = shown(&ran.output);
        Ok(match (ran.code, output.is_empty()) {
            (Some(0), _) => None,
            (Some(_), false) => Some(output),
            (Some(code), true) => Some(format!("the check ended with exit code {code}")),
            (None, true) => {
                Some(format!("the check took longer than {}", humantime::format_duration(timeout)))
            }
            (None, false) => {
                Some(format!("the check took longer than {}: {output}", humantime::format_duration(timeout)))
            }
        })
    }

    fn age(&self) -> Duration {
        self.started.elapsed().unwrap_or_default()
    }
}

/// A check's output on one line, its last words if it is long.
fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    let skip = line.chars().count().saturating_sub(SHOWN);
    line.chars().skip(skip).collect()
}
