//! `wharf apply` and `wharf plan`.

use super::{confirm, follow, project};
use crate::{
    cli::{Apply, Files},
    client::{Client, request_id},
    convert,
    failure::{Failure, Result},
    output::Table,
};
use std::io::{Write, stdout};
use wharf_proto::v1::{ApplyStackRequest, PlanStackRequest, PlanStackResponse, StackSpec};

/// Placements that are listed one by one.
const LISTED: usize = 40;

/// Shows what apply would do.
///
/// # Errors
/// When the files can't be used or the cluster can't be asked.
pub async fn plan(open: impl Fn() -> Result<Client>, files: &Files) -> Result<()> {
    let spec = stack(files)?;
    show(&spec.name, &ask(&open()?, &spec).await?)
}

/// Makes a stack what its files say, and waits until it is so.
///
/// # Errors
/// When the files can't be used, the cluster refuses, or tasks fail.
pub async fn apply(open: impl Fn() -> Result<Client>, args: Apply) -> Result<()> {
    let spec = stack(&args.files)?;
    let client = open()?;
    let planned = ask(&client, &spec).await?;
    show(&spec.name, &planned)?;
    if args.plan {
        return Ok(());
    }
    let changes = planned.changes.iter().any(|change| change.action != "unchanged");
    if changes || planned.version == 0 {
        confirm("Do this?", args.yes)?;
    }
    let before = follow::before(&client, [spec.name.as_str()]).await?;
    let request = ApplyStackRequest {
        request_id: request_id(),
        spec: Some(spec.clone()),
        expected_version: Some(planned.version),
    };
    client
        .call(|mut api| {
            let request = request.clone();
            async move { api.apply_stack(request).await }
        })
        .await?;
    if args.detach {
        println!("stack {} is being made so; wharf get tasks --stack {} -w shows it", spec.name, spec.name);
        return Ok(());
    }
    let services: Vec<String> = spec.services.keys().map(|name| format!("{}/{name}", spec.name)).collect();
    follow::until_running(&client, &services, &before, args.wait).await
}

/// The stack that the files declare, as it is sent.
fn stack(files: &Files) -> Result<StackSpec> {
    let project = project::read(files)?.project;
    let (spec, remarks) = convert::stack(&project)?;
    for remark in remarks {
        eprintln!("warning: {remark}");
    }
    let message = StackSpec::from(&spec);
    // The same check that the controller makes, before anything is sent.
    wharf_cluster::model::StackSpec::try_from(message.clone())
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(message)
}

async fn ask(client: &Client, spec: &StackSpec) -> Result<PlanStackResponse> {
    let request = PlanStackRequest { spec: Some(spec.clone()) };
    client
        .call(|mut api| {
            let request = request.clone();
            async move { api.plan_stack(request).await }
        })
        .await
}

fn show(stack: &str, plan: &PlanStackResponse) -> Result<()> {
    let mut out = stdout().lock();
    if plan.version == 0 {
        writeln!(out, "stack {stack} is new")?;
    } else {
        writeln!(out, "stack {stack}, planned against version {}", plan.version)?;
    }
    let mut table = Table::new(&["SERVICE", "ACTION", "TASKS"], true);
    for change in &plan.changes {
        table.row(vec![change.service.clone(), change.action.clone(), change.tasks.to_string()]);
    }
    write!(out, "{}", table.render())?;
    for change in plan.changes.iter().filter(|change| change.action == "update" || change.action == "scale") {
        for difference in &change.differences {
            writeln!(out, "  {}: {difference}", change.service)?;
        }
    }
    if !plan.placements.is_empty() {
        let mut table = Table::new(&["TASK", "NODE"], true);
        for placement in plan.placements.iter().take(LISTED) {
            table.row(vec![placement.task.clone(), placement.node.clone()]);
        }
        write!(out, "{}", table.render())?;
        if plan.placements.len() > LISTED {
            writeln!(out, "… and {} more", plan.placements.len() - LISTED)?;
        }
    }
    for failure in &plan.unplaced {
        writeln!(
            out,
            "{}: {} task(s) would have no node: {}",
            failure.service, failure.tasks, failure.reason
        )?;
    }
    Ok(())
}
