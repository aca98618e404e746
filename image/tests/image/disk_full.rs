//! A disk that fills up while an image comes in: a clear error, and the space is free again.

use std::fs;

use rustix::fs::statvfs;
use wharf_image::content::ContentError;
use wharf_image::fs_error::FsError;
use wharf_image::unpack::UnpackError;
use wharf_image::{PullError, PullOptions};

use crate::support::{Archive, Folder, Publish, Registry, amd64, images};

fn free(folder: &Folder) -> u64 {
    let stat = statvfs(folder.path()).unwrap();
    stat.f_bavail * stat.f_frsize
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_downloading() {
    let (registry, folder) = (Registry::start().await, Folder::small(1024));
    let images = images(&folder);
    let before = free(&folder);
    let published =
        Publish::new().layer(Archive::new().file("big", &noise(3 << 20))).publish(&registry, "app", "latest");
    let error = images.pull(&registry.name("app"), &amd64(), &PullOptions::default()).await.unwrap_err();
    let PullError::Layer { layer, cause } = &error else { panic!("{error}") };
    assert_eq!(*layer, published.layers[0]);
    assert!(matches!(**cause, ContentError::Fs(FsError::DiskFull { .. })), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    images.gc(Vec::new()).await.unwrap();
    assert_eq!(free(&folder), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_unpacking() {
    let (registry, folder) = (Registry::start().await, Folder::small(1024));
    let images = images(&folder);
    let before = free(&folder);
    // Compresses well: the blob fits, the files don't.
    Publish::new().layer(Archive::new().file("zeros", &[1; 3 << 20])).publish(&registry, "app", "latest");
    let error = images.pull(&registry.name("app"), &amd64(), &PullOptions::default()).await.unwrap_err();
    let PullError::Unpack { cause, .. } = &error else { panic!("{error}") };
    assert!(matches!(**cause, UnpackError::Fs(FsError::DiskFull { .. })), "{error}");
    images.gc(Vec::new()).await.unwrap();
    assert_eq!(free(&folder), before);
    // And with room again the same folder works.
    let small = Publish::new().layer(Archive::new().file("small", b"1"));
    small.publish(&registry, "app", "latest");
    images.pull(&registry.name("app"), &amd64(), &PullOptions::default()).await.unwrap();
    assert_eq!(fs::read_dir(folder.join("snapshots/staging")).unwrap().count(), 0);
}
