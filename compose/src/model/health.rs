//! A service's health check.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::units;

/// How a container's health is found out. What is absent is taken from the image, then from the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Healthcheck {
    /// What to run; the image's own test when absent.
    pub test: Option<HealthTest>,
    /// Time between two checks.
    pub interval: Option<Duration>,
    /// How long one check may take.
    pub timeout: Option<Duration>,
    /// How many failures in a row make the container unhealthy.
    pub retries: Option<u32>,
    /// Time after the start in which failures don't count.
    pub start_period: Option<Duration>,
    /// Time between two checks within the start period.
    pub start_interval: Option<Duration>,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HealthTest {
    /// Nothing: the image's own check is switched off (`disable: true`, `test: NONE`).
    Disabled,
    /// A program and its arguments (`[CMD, ...]`).
    Command(Vec<String>),
    /// A line for the container's shell (`[CMD-SHELL, ...]`, or a plain string).
    Shell(String),
}

impl Serialize for Healthcheck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        LongHealthcheck::from(self).serialize(serializer)
    }
}

/// The long syntax of a health check.
#[derive(Serialize)]
struct LongHealthcheck<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_period: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_interval: Option<String>,
}

impl<'a> From<&'a Healthcheck> for LongHealthcheck<'a> {
    fn from(check: &'a Healthcheck) -> Self {
        let (disable, test) = match &check.test {
            None => (false, None),
            Some(HealthTest::Disabled) => (true, None),
            Some(HealthTest::Command(args)) => {
                (false, Some(std::iter::once("CMD").chain(args.iter().map(String::as_str)).collect()))
            }
            Some(HealthTest::Shell(line)) => (false, Some(vec!["CMD-SHELL", line])),
        };
        let text = |duration: Option<Duration>| duration.map(units::format_duration);
        LongHealthcheck {
            disable,
            test,
            interval: text(check.interval),
            timeout: text(check.timeout),
            retries: check.retries,
            start_period: text(check.start_period),
            start_interval: text(check.start_interval),
        }
    }
}
