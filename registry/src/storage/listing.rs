//! Lists in pages. Object stores list in no useful order, so a page is picked out of the whole list
//! while it streams by: the memory needed is that of a page.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};

use super::{Storage, StorageError, layout};
use crate::name::RepoName;

/// A part of a sorted list of names.
pub struct Page {
    /// The names.
    pub names: Vec<String>,
    /// Whether others come after these.
    pub more: bool,
}

/// Keeps the smallest few of the values offered to it that come after a given one.
pub(super) struct Smallest<T> {
    after: Option<T>,
    keep: usize,
    kept: BTreeSet<T>,
    more: bool,
}

impl<T: Ord> Smallest<T> {
    pub(super) fn after(after: Option<T>, keep: usize) -> Self {
        Smallest { after, keep, kept: BTreeSet::new(), more: false }
    }

    pub(super) fn offer(&mut self, value: T) {
        if self.after.as_ref().is_some_and(|after| value <= *after) {
            return;
        }
        self.kept.insert(value);
        if self.kept.len() > self.keep {
            self.kept.pop_last();
            self.more = true;
        }
    }

    /// The values, in order, and whether there were more.
    pub(super) fn finish(self) -> (Vec<T>, bool) {
        (self.kept.into_iter().collect(), self.more)
    }
}

impl Storage {
    /// At most `n` of a repository's tags, in byte order, after `last`.
    pub async fn tags(&self, repo: &RepoName, last: Option<&str>, n: usize) -> Result<Page, StorageError> {
        if !self.has_manifests(repo).await? {
            return Err(StorageError::NameUnknown(repo.clone()));
        }
        let mut smallest = Smallest::after(last.map(str::to_owned), n);
        let mut listed = self.list(&layout::tags(repo));
        while let Some(tag) = listed.try_next().await? {
            if let Some(name) = tag.location.filename() {
                smallest.offer(name.to_owned());
            }
        }
        let (names, more) = smallest.finish();
        Ok(Page { names, more })
    }

    /// At most `n` of the repositories that have a manifest, in byte order, after `last`.
    pub async fn catalog(&self, last: Option<&str>, n: usize) -> Result<Page, StorageError> {
        let mut smallest = Smallest::after(last.map(str::to_owned), n);
        let mut walk = RepoWalk::new();
        while let Some(repo) = walk.next(self).await? {
            if self.has_manifests(&repo).await? {
                smallest.offer(repo.as_str().to_owned());
            }
        }
        let (names, more) = smallest.finish();
        Ok(Page { names, more })
    }

    async fn has_manifests(&self, repo: &RepoName) -> Result<bool, StorageError> {
        Ok(self.list(&layout::manifest_links(repo)).next().await.transpose()?.is_some())
    }
}

/// Walks through all repositories, also those that have no manifest yet or none any more.
pub(super) struct RepoWalk {
    folders: Vec<object_store::path::Path>,
}

impl RepoWalk {
    pub(super) fn new() -> Self {
        RepoWalk { folders: vec![layout::repos()] }
    }

    pub(super) async fn next(&mut self, storage: &Storage) -> Result<Option<RepoName>, StorageError> {
        while let Some(folder) = self.folders.pop() {
            let listed = storage.store.list_with_delimiter(Some(&folder)).await?;
            let mut is_repo = false;
            for child in listed.common_prefixes {
                let own = child.parts().next_back().is_some_and(|part| layout::is_own(&part));
                if own {
                    is_repo = true;
                } else {
                    self.folders.push(child);
                }
            }
            if let Some(repo) = is_repo.then(|| layout::repo_name(&folder)).flatten() {
                return Ok(Some(repo));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_a_page_out_of_an_unsorted_list() {
        let page = |after: Option<&str>, keep| {
            let mut smallest = Smallest::after(after.map(str::to_owned), keep);
            ["d", "b", "a", "c", "e"].into_iter().for_each(|v| smallest.offer(v.to_owned()));
            let (names, more) = smallest.finish();
            (names.concat(), more)
        };
        assert_eq!(page(None, 2), ("ab".into(), true));
        assert_eq!(page(Some("b"), 2), ("cd".into(), true));
        assert_eq!(page(Some("c"), 2), ("de".into(), false));
        assert_eq!(page(Some("bb"), 9), ("cde".into(), false));
        assert_eq!(page(Some("z"), 2), (String::new(), false));
        assert_eq!(page(None, 0), (String::new(), true));
    }
}
