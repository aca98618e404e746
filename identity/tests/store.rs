//! What is saved, how, and what a crash may leave.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use support::{HOUR, issue};
use wharf_identity::{Authority, ClientContext, IdentityFolder, Role, StoreError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn an_identity_is_saved_for_its_owner_only_and_loads_again() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("lib/identity");
    let folder = IdentityFolder::new(&path);
    assert!(folder.load().unwrap().is_none());

    let authority = Authority::create("c1", SystemTime::now()).unwrap();
    for id in ["n1", "n2"] {
        folder.save(&issue(&authority, Role::Agent, id, HOUR)).unwrap();
        assert_eq!(folder.load().unwrap().unwrap().identity().id, id);
    }
    let mut names: Vec<_> =
        fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["ca.pem", "cert.pem", "key.pem"]);
    for name in names {
        assert_eq!(mode(&path.join(name)), 0o600);
    }
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_crash_at_any_step_of_a_renewal_leaves_a_usable_identity() {
    let authority = Authority::create("c1", SystemTime::now()).unwrap();
    let (old, new) =
        (issue(&authority, Role::Agent, "old", HOUR), issue(&authority, Role::Agent, "new", HOUR));
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path();
    let folder = IdentityFolder::new(path);
    folder.save(&old).unwrap();

    // The new key was written, the certificate was not.
    fs::write(path.join("next-key.pem"), new.key_pem()).unwrap();
    assert_eq!(folder.load().unwrap().unwrap().identity().id, "old");
    // The certificate was written too, the key is not in its place.
    fs::write(path.join("cert.pem"), new.cert_pem()).unwrap();
    assert_eq!(folder.load().unwrap().unwrap().identity().id, "new");
    // Loading put it there.
    assert!(!path.join("next-key.pem").exists());
    assert_eq!(folder.load().unwrap().unwrap().identity().id, "new");
    // A first save that was cut short is no identity.
    fs::remove_file(path.join("cert.pem")).unwrap();
    assert!(folder.load().unwrap().is_none());

    fs::write(path.join("cert.pem"), old.cert_pem()).unwrap();
    let error = folder.load().unwrap_err().to_string();
    assert!(error.contains("key does not belong to the certificate; remove it and join again"), "{error}");
}

#[test]
fn a_context_file_holds_all_that_a_client_needs() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("contexts/home.json");
    let authority = Authority::create("c1", SystemTime::now()).unwrap();
    let credentials = issue(&authority, Role::Admin, "root", HOUR);
    let context = ClientContext::new("home", vec!["10.0.0.1:7400".to_owned()], &credentials);
    context.save(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let loaded = ClientContext::load(&path).unwrap();
    assert_eq!(loaded, context);
    assert_eq!(loaded.credentials().unwrap().identity().role, Role::Admin);
    assert!(!format!("{context:?}").contains("PRIVATE"));

    assert!(matches!(ClientContext::load(&path.join("x")), Err(StoreError::Read { .. })));
    fs::write(&path, "{\"name\": \"home\"}").unwrap();
    assert!(matches!(ClientContext::load(&path), Err(StoreError::NotAContext { .. })));
    ClientContext { key_pem: authority.key_pem(), ..context }.save(&path).unwrap();
    assert!(matches!(ClientContext::load(&path), Err(StoreError::Unusable { .. })));
    fs::write(&path, vec![b' '; 2 << 20]).unwrap();
    assert!(matches!(ClientContext::load(&path), Err(StoreError::Read { .. })));
}
