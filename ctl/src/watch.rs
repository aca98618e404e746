//! Watching objects: what there is, then every change, through any number of controllers that die.

use crate::{
    client::{Client, may_pass},
    failure::Result,
};
use futures::Stream;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tokio::time::sleep;
use tonic::Streaming;
use wharf_proto::v1::{GetRequest, Object, WatchResponse, object, watch_response::Change};

/// Pause before a watch that broke off is begun again; it doubles up to [`LONGEST_PAUSE`] while none gets to tell all.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// An object that is new, or different from before.
    Set(Object),
    /// An object that has gone.
    Removed(Object),
    /// Everything that there was at first has been told.
    Listed,
}

/// A watch that goes on at another controller when one dies, and then tells only what became different.
pub struct Watch<'a> {
    client: &'a Client,
    request: GetRequest,
    stream: Option<Streaming<WatchResponse>>,
    picture: Picture,
    pause: Duration,
}

impl<'a> Watch<'a> {
    /// A watch of what `request` names.
    pub fn new(client: &'a Client, request: GetRequest) -> Self {
        Watch { client, request, stream: None, picture: Picture::default(), pause: PAUSE }
    }

    /// Everything that happens, until no controller can be reached any more, or one refuses.
    pub fn updates(self) -> impl Stream<Item = Result<Update>> + 'a {
        futures::stream::unfold(self, |mut watch| async {
            let update = watch.next().await;
            Some((update, watch))
        })
    }

    async fn next(&mut self) -> Result<Update> {
        loop {
            if let Some(update) = self.picture.pending.pop_front() {
                return Ok(update);
            }
            let Some(stream) = &mut self.stream else {
                let request = &self.request;
                let open = |mut api: crate::client::Api| async move { api.watch(request.clone()).await };
                self.stream = Some(self.client.call(open).await?);
                self.picture.begin();
                continue;
            };
            match stream.message().await {
                Ok(Some(response)) => self.picture.take(response),
                Err(status) if !may_pass(&status) => return Err(status.into()),
                Ok(None) | Err(_) => {
                    self.stream = None;
                    self.client.give_up_current().await;
                    if self.picture.complete() {
                        self.pause = PAUSE;
                    }
                    sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// What has been told of the objects.
#[derive(Default)]
struct Picture {
    known: BTreeMap<String, Object>,
    /// Those that a stream has sent since its beginning, until it has sent all.
    sent: Option<BTreeSet<String>>,
    listed: bool,
    pending: VecDeque<Update>,
}

impl Picture {
    fn begin(&mut self) {
        self.sent = Some(BTreeSet::new());
    }

    /// Whether the stream has sent everything that there was.
    fn complete(&self) -> bool {
        self.sent.is_none()
    }

    fn take(&mut self, response: WatchResponse) {
        let change = response.change();
        if change == Change::Bookmark {
            self.end_list();
            return;
        }
        let Some(object) = response.object else { return };
        let key = key(&object);
        if change == Change::Removed {
            self.known.remove(&key);
            self.pending.push_back(Update::Removed(object));
            return;
        }
        if let Some(sent) = &mut self.sent {
            sent.insert(key.clone());
        }
        if self.known.get(&key) != Some(&object) {
            self.known.insert(key, object.clone());
            self.pending.push_back(Update::Set(object));
        }
    }

    /// A stream has sent everything: what it didn't has gone meanwhile. Events don't go, they are forgotten.
    fn end_list(&mut self) {
        let sent = self.sent.take().unwrap_or_default();
        let gone: Vec<String> = self.known.keys().filter(|key| !sent.contains(*key)).cloned().collect();
        for object in gone.iter().filter_map(|key| self.known.remove(key)) {
            if !matches!(object.object, Some(object::Object::Event(_))) {
                self.pending.push_back(Update::Removed(object));
            }
        }
        if !std::mem::replace(&mut self.listed, true) {
            self.pending.push_back(Update::Listed);
        }
    }
}

fn key(object: &Object) -> String {
    match &object.object {
        Some(object::Object::Stack(found)) => found.name.clone(),
        Some(object::Object::Service(found)) => found.id.clone(),
        Some(object::Object::Task(found)) => found.id.clone(),
        Some(object::Object::Node(found)) => found.id.clone(),
        Some(object::Object::Controller(found)) => found.id.clone(),
        // In the order of their numbers.
        Some(object::Object::Event(found)) => format!("{:020}", found.sequence),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_proto::v1::Node;

    fn node(id: &str, state: &str) -> Object {
        let node = Node { id: id.to_owned(), state: state.to_owned(), ..Node::default() };
        Object { object: Some(object::Object::Node(node)) }
    }

    fn response(change: Change, object: Option<Object>) -> WatchResponse {
        WatchResponse { change: change.into(), object, index: 1 }
    }

    fn told(picture: &mut Picture) -> Vec<Update> {
        picture.pending.drain(..).collect()
    }

    #[test]
    fn a_watch_that_begins_again_tells_only_what_became_different() {
        let mut picture = Picture::default();
        picture.begin();
        for id in ["1", "2", "3"] {
            picture.take(response(Change::Added, Some(node(id, "ready"))));
        }
        picture.take(response(Change::Bookmark, None));
        let all = ["1", "2", "3"].map(|id| Update::Set(node(id, "ready")));
        assert_eq!(told(&mut picture), [all.to_vec(), vec![Update::Listed]].concat());

        picture.take(response(Change::Modified, Some(node("1", "down"))));
        assert_eq!(told(&mut picture), [Update::Set(node("1", "down"))]);

        picture.begin();
        picture.take(response(Change::Added, Some(node("1", "down"))));
        picture.take(response(Change::Added, Some(node("2", "down"))));
        picture.take(response(Change::Bookmark, None));
        assert_eq!(told(&mut picture), [Update::Set(node("2", "down")), Update::Removed(node("3", "ready"))]);

        picture.take(response(Change::Removed, Some(node("2", "down"))));
        assert_eq!(told(&mut picture), [Update::Removed(node("2", "down"))]);
    }
}
