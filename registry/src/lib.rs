//! `wharf-registry`: an OCI distribution registry, which stores images and hands them out.
//!
//! It speaks the distribution specification 1.1: pull (with ranges), push (in one request, in two, or in
//! chunks that can be resumed), mounting blobs from another repository, tags and the catalog in pages,
//! deletion, and the referrers API. It takes OCI image manifests and indexes, Docker schema 2
//! manifests and lists, and digests in SHA-256 and SHA-512.
//!
//! # Who may do what
//! Whoever reaches the port may pull. Whoever reaches it may push and delete as well, unless the registry
//! was started with `--require-client-cert`: then a change needs a certificate of the cluster, which
//! agents, controllers and the admin have.
//!
//! # Transport
//! A registry that joined a cluster (`--join`, `--token`) presents a certificate of the cluster's
//! authority, which agents trust, and renews it. `--tls-cert` and `--tls-key` present one of your own; it
//! is read at start. Plain HTTP is served on a loopback address, or when `--plain-http` says so.
//!
//! # What is where
//! The process keeps nothing in memory between two requests: any process can go on where another ended.
//! In the data folder:
//!
//! ```text
//! lock                                    locked while a registry runs on this folder
//! identity/                               certificate and key from the cluster
//! store/_layout                           version of this layout
//! store/blobs/ALG/HE/HEX                  bytes of blobs and manifests, shared by all repositories
//! store/repos/NAME/_blobs/ALG/HEX         empty: the repository has this blob
//! store/repos/NAME/_manifests/ALG/HEX     media type of a manifest that the repository has
//! store/repos/NAME/_tags/TAG              digest that the tag points to
//! store/repos/NAME/_referrers/ALG/HEX/ALG/HEX
//!                                         referrers-list entry: the second manifest refers to the first
//! store/uploads/ID/repo                   name of the repository that an upload goes to
//! store/uploads/ID/parts/OFFSET           a complete chunk of it
//! store/uploads/ID/incoming-ID            a chunk or blob that is still being written
//! ```
//!
//! `HE` are the first two digits of `HEX`. Objects appear whole and on disk or not at all, and in an order
//! such that nothing points to what is not there: content before the link that gives it to a
//! repository, a manifest before its tag. A blob is taken from an upload only after the digest of the
//! stored bytes was compared. Deleting takes things from a repository; `wharf-registry gc` deletes
//! content that no manifest refers to any more, while the registry is stopped.
//!
//! # Bounds
//! Blobs stream through about 1 MiB of memory each. Manifests have at most 4 MiB, names 255 and tags 128
//! characters, uploads 10,000 chunks and `--max-blob-bytes`; a body may pause for a minute; there are at
//! most 512 connections, with 16 requests each; an upload without a new chunk for `--upload-ttl` is removed.

mod api;
mod digest;
mod error;
mod manifest;
mod name;
mod route;
mod server;
mod storage;

pub use server::{Server, Settings, StartError};
pub use storage::{Collected, Limits, Storage, StorageError};
