//! `healthcheck`.

use super::field::Field;
use crate::model::{HealthTest, Healthcheck};
use crate::report::Report;

/// Reads a health check.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> Option<Healthcheck> {
    let object = field.object(report)?;
    let mut check = Healthcheck {
        test: object.field("test").and_then(|field| test(&field, report)),
        interval: object.field("interval").and_then(|field| field.duration(report)),
        timeout: object.field("timeout").and_then(|field| field.duration(report)),
        retries: object.field("retries").and_then(|field| field.count(report)),
        start_period: object.field("start_period").and_then(|field| field.duration(report)),
        start_interval: object.field("start_interval").and_then(|field| field.duration(report)),
    };
    let Some(disable) = object.field("disable") else { return Some(check) };
    if disable.boolean(report)? {
        if !matches!(check.test, None | Some(HealthTest::Disabled)) {
            disable.error(report, "a disabled health check can't have a test");
        }
        check = Healthcheck { test: Some(HealthTest::Disabled), ..check };
    }
    Some(check)
}

fn test(field: &Field<'_>, report: &mut Report) -> Option<HealthTest> {
    if !field.is_list() {
        return field.filled_text(report).map(|line| match line.as_str() {
            "NONE" => HealthTest::Disabled,
            _ => HealthTest::Shell(line),
        });
    }
    let words = field.texts(report);
    match words.split_first() {
        Some((kind, [])) if kind == "NONE" => Some(HealthTest::Disabled),
        Some((kind, args)) if kind == "CMD" && !args.is_empty() => Some(HealthTest::Command(args.to_vec())),
        Some((kind, [line])) if kind == "CMD-SHELL" => Some(HealthTest::Shell(line.clone())),
        _ => {
            field.error_hint(
                report,
                "the list must be [NONE], [CMD, program, arguments ...] or [CMD-SHELL, line]",
                "put CMD before the program",
            );
            None
        }
    }
}
