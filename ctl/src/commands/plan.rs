//! `wharf plan`, and the plan that `wharf apply` shows first.

use super::project;
use crate::{
    cli::{Files, Format, Plan},
    client::Client,
    convert,
    failure::{Failure, Result},
    output::{self, clean},
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Write as _, stdout},
};
use wharf_proto::v1::{PlanStackRequest, PlanStackResponse, PlannedPlacement, StackSpec};

/// Tasks that are named for each node; more are counted.
const NAMED: usize = 12;
/// Most characters of a difference that are shown.
const DIFFERENCE: usize = 200;

/// Shows what apply would do.
///
/// # Errors
/// When the files can't be used or the cluster can't be asked.
pub async fn plan<'a>(open: impl Fn() -> Result<&'a Client>, args: &Plan) -> Result<()> {
    let spec = stack(&args.files)?;
    let planned = ask(open()?, &spec).await?;
    match args.output {
        Format::Table | Format::Wide => show(&spec.name, &planned),
        Format::Json | Format::Yaml => output::serialise(&planned, args.output),
        Format::Name => planned.changes.iter().try_for_each(|change| output::say(&change.service)),
    }
}

/// The stack that the files declare, as it is sent.
///
/// # Errors
/// When the files can't be used.
pub fn stack(files: &Files) -> Result<StackSpec> {
    let project = project::read(files)?.project;
    let (spec, remarks) = convert::stack(&project)?;
    for remark in remarks {
        eprintln!("warning: {remark}");
    }
    let message = StackSpec::from(&spec);
    // The same check that the controller makes, before anything is sent.
    wharf_cluster::model::StackSpec::try_from(message.clone())
        .map_err(|error| Failure::usage(format!("{error}; nothing was done")))?;
    Ok(message)
}

/// Asks what applying the stack would do.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn ask(client: &Client, spec: &StackSpec) -> Result<PlanStackResponse> {
    let request = PlanStackRequest { spec: Some(spec.clone()) };
    let ask = |mut api: crate::client::Api| {
        let request = request.clone();
        async move { api.plan_stack(request).await }
    };
    client.call(ask).await
}

/// Whether the plan has anything to do.
pub fn changes_something(plan: &PlanStackResponse) -> bool {
    plan.version == 0 || plan.changes.iter().any(|change| change.action != "unchanged")
}

/// Prints a plan for people.
///
/// # Errors
/// When nobody reads it.
pub fn show(stack: &str, plan: &PlanStackResponse) -> Result<()> {
    Ok(stdout().lock().write_all(text(stack, plan).as_bytes())?)
}

fn text(stack: &str, plan: &PlanStackResponse) -> String {
    let mut text = match plan.version {
        0 => format!("Stack {stack} is new.\n"),
        version => format!("Stack {stack}, version {version}:\n"),
    };
    let width = plan.changes.iter().map(|change| change.service.len()).max().unwrap_or(0);
    for change in &plan.changes {
        let (sign, tasks) = match change.action.as_str() {
            "create" => ("+", Some("new")),
            "update" => ("~", Some("replaced")),
            "scale" => ("~", Some("more or fewer")),
            "remove" => ("-", Some("stopped")),
            _ => (" ", None),
        };
        let tasks = tasks.filter(|_| change.tasks > 0);
        let tasks = tasks.map_or_else(String::new, |what| format!("  {} {what}", counted(change.tasks)));
        let line = format!("  {sign} {:9}  {:width$}{tasks}", change.action, change.service);
        text.push_str(line.trim_end());
        text.push('\n');
        if matches!(change.action.as_str(), "update" | "scale") {
            for difference in &change.differences {
                // Writing to a text can't fail.
                let _ = writeln!(text, "        {}", cut(&clean(difference)));
            }
        }
    }
    text.push_str(&placements(&plan.placements));
    for failure in &plan.unplaced {
        let tasks = if failure.tasks == 0 { "some tasks".to_owned() } else { counted(failure.tasks) };
        let _ = writeln!(text, "No node for {tasks} of {}: {}", failure.service, clean(&failure.reason));
    }
    if !changes_something(plan) {
        text.push_str("Nothing changes.\n");
    }
    text
}

fn counted(tasks: u32) -> String {
    if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(DIFFERENCE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Where new tasks go: a line for each service and node.
fn placements(placements: &[PlannedPlacement]) -> String {
    let mut by_place: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for placement in placements {
        by_place.entry((&placement.service, &placement.node)).or_default().push(&placement.task);
    }
    if by_place.is_empty() {
        return String::new();
    }
    let service_width = by_place.keys().map(|(service, _)| service.len()).max().unwrap_or(0);
    let node_width = by_place.keys().map(|(_, node)| node.len()).max().unwrap_or(0);
    let mut text = "New tasks go to:\n".to_owned();
    for ((service, node), tasks) in by_place {
        let slot = |task: &&str| task.strip_prefix(service).unwrap_or(task).to_owned();
        let mut slots: Vec<String> = tasks.iter().take(NAMED).map(slot).collect();
        if tasks.len() > NAMED {
            slots.push(format!("and {} more", tasks.len() - NAMED));
        }
        let slots = slots.join(" ");
        let _ = writeln!(text, "  {service:service_width$}  {node:node_width$}  {}  {slots}", tasks.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_proto::v1::{PlannedChange, PlannedFailure};

    fn change(service: &str, action: &str, tasks: u32, differences: &[&str]) -> PlannedChange {
        PlannedChange {
            service: service.to_owned(),
            action: action.to_owned(),
            tasks,
            differences: differences.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_plan_says_what_changes_where_tasks_go_and_what_finds_no_node() {
        let place = |slot: u32, node: &str| PlannedPlacement {
            service: "shop/web".to_owned(),
            task: format!("shop/web.{slot}"),
            node: node.to_owned(),
        };
        let plan = PlanStackResponse {
            version: 3,
            changes: vec![
                change("shop/api", "update", 1, &["template.container.image: a:1 -> a:2"]),
                change("shop/db", "unchanged", 0, &[]),
                change("shop/old", "remove", 2, &[]),
                change("shop/web", "create", 4, &["mode: -> x"]),
            ],
            placements: vec![place(1, "a1"), place(2, "node2"), place(3, "a1")],
            unplaced: vec![PlannedFailure {
                service: "shop/web".to_owned(),
                tasks: 1,
                reason: "2 of 2 nodes: not enough memory".to_owned(),
            }],
        };
        let expected = "\
Stack shop, version 3:
  ~ update     shop/api  1 task replaced
        template.container.image: a:1 -> a:2
    unchanged  shop/db
  - remove     shop/old  2 tasks stopped
  + create     shop/web  4 tasks new
New tasks go to:
  shop/web  a1     2  .1 .3
  shop/web  node2  1  .2
No node for 1 task of shop/web: 2 of 2 nodes: not enough memory
";
        assert_eq!(text("shop", &plan), expected);
    }

    #[test]
    fn a_plan_without_changes_says_so() {
        let plan = PlanStackResponse {
            version: 1,
            changes: vec![change("shop/web", "unchanged", 0, &[])],
            ..PlanStackResponse::default()
        };
        assert!(!changes_something(&plan));
        let expected = "Stack shop, version 1:\n    unchanged  shop/web\nNothing changes.\n";
        assert_eq!(text("shop", &plan), expected);
        assert!(text("shop", &PlanStackResponse::default()).starts_with("Stack shop is new.\n"));
    }
}
