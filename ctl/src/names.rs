//! Names as people say them: `web` for `shop/web` where no other stack has a `web`.

use crate::{
    client::{Client, all, services},
    failure::{Failure, Result},
};
use wharf_proto::v1::{Kind, Service};

/// A service's full name.
///
/// # Errors
/// When no service, or more than one, is called so.
pub async fn service(client: &Client, name: &str) -> Result<String> {
    if name.contains('/') {
        return Ok(name.to_owned());
    }
    choose(&services(client.get(&all(Kind::Service)).await?), name)
}

/// A task's full name, or its id.
///
/// # Errors
/// When the name's service is ambiguous.
pub async fn task(client: &Client, name: &str) -> Result<String> {
    match name.split_once('.') {
        Some((service_name, slot)) if !name.contains('/') => {
            Ok(format!("{}.{slot}", service(client, service_name).await?))
        }
        // What has neither stack nor slot can only be an id.
        _ => Ok(name.to_owned()),
    }
}

/// The name of a service or a task, in full.
///
/// # Errors
/// When no service, or more than one, is called so.
pub async fn service_or_task(client: &Client, name: &str) -> Result<String> {
    if name.contains('/') {
        return Ok(name.to_owned());
    }
    if name.contains('.') {
        return task(client, name).await;
    }
    match service(client, name).await {
        // It may be a task's id: the cluster knows.
        Err(failure) if failure.code == crate::failure::NOT_FOUND => Ok(name.to_owned()),
        other => other,
    }
}

fn choose(known: &[Service], name: &str) -> Result<String> {
    let called = |full: &&str| full.split_once('/').is_some_and(|(_, short)| short == name);
    let found: Vec<&str> = known.iter().map(|service| service.name.as_str()).filter(called).collect();
    match found[..] {
        [one] => Ok(one.to_owned()),
        [] => Err(Failure::not_found(format!(
            "there is no service {name}; wharf get services shows what there is"
        ))),
        _ => Err(Failure::usage(format!("several services are called {name}: say {}", found.join(" or ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_good_where_it_is_unique() {
        let known = ["shop/web", "shop/db", "blog/web"]
            .map(|name| Service { name: name.to_owned(), ..Service::default() });
        assert_eq!(choose(&known, "db").unwrap(), "shop/db");
        let ambiguous = choose(&known, "web").unwrap_err();
        assert_eq!(ambiguous.code, crate::failure::USAGE);
        assert!(ambiguous.message.contains("shop/web or blog/web"), "{}", ambiguous.message);
        assert_eq!(choose(&known, "cache").unwrap_err().code, crate::failure::NOT_FOUND);
    }
}
