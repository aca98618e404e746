//! What the authority signs, and what it does not.

use std::time::{Duration, SystemTime};

use wharf_identity::{
    Authority, AuthorityError, CaHash, Credentials, CredentialsError, Identity, KeyAndRequest, Role,
    SubjectName, SubjectNameError,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const HOUR: Duration = Duration::from_secs(3600);

fn authority(cluster: &str) -> Authority {
    Authority::create(cluster, SystemTime::now()).expect("an authority")
}

fn der(pem: &str) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM").1.contents
}

#[test]
fn a_certificate_says_what_the_authority_was_told_and_nothing_from_the_request() {
    let authority = authority("c1");
    let rcgen_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut asked = rcgen::CertificateParams::new(vec!["controller.wharf.internal".to_owned()]).unwrap();
    asked.distinguished_name.push(rcgen::DnType::CommonName, "evil");
    asked.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "admin");
    asked.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let csr = asked.serialize_request(&rcgen_key).unwrap().pem().unwrap();

    let now = SystemTime::now();
    let identity = Identity::new("c1", Role::Registry, "r1").unwrap();
    let names: Vec<SubjectName> = vec!["reg.example.org".parse().unwrap(), "10.0.0.5".parse().unwrap()];
    let pem = authority.issue(&csr, &identity, &names, now, HOUR).unwrap();
    let credentials =
        Credentials::from_pem(authority.certificate_pem(), &pem, &rcgen_key.serialize_pem()).unwrap();
    assert_eq!(credentials.identity(), &identity);
    assert_eq!(credentials.leaf().names, names);
    assert!(!credentials.is_expired(now + HOUR - Duration::from_secs(2)));
    assert!(credentials.is_expired(now + HOUR));
    assert_eq!(credentials.ca_hash(), authority.hash());
    assert_eq!(CaHash::of_der(&der(authority.certificate_pem())), authority.hash());

    let der = der(&pem);
    let (_, x509) = X509Certificate::from_der(&der).unwrap();
    assert!(!x509.is_ca());
    let skew = now - Duration::from_secs(300);
    let skew = skew.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(x509.validity().not_before.timestamp(), i64::try_from(skew).unwrap());
    let sans = &x509.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(
        sans[..],
        [
            GeneralName::DNSName("registry.wharf.internal"),
            GeneralName::DNSName("reg.example.org"),
            GeneralName::IPAddress(&[10, 0, 0, 5]),
        ]
    );
}

#[test]
fn an_authority_goes_on_from_its_saved_certificate_and_key() {
    let first = authority("c1");
    let again = Authority::from_pem(first.certificate_pem(), &first.key_pem()).unwrap();
    assert_eq!((again.cluster(), again.hash()), ("c1", first.hash()));
    let key = KeyAndRequest::generate().unwrap();
    let identity = Identity::new("c1", Role::Agent, "n1").unwrap();
    let cert = again.issue(&key.csr_pem, &identity, &[], SystemTime::now(), HOUR).unwrap();
    assert!(Credentials::from_pem(first.certificate_pem(), &cert, &key.key_pem).is_ok());

    let other = authority("c2");
    let mixed = Authority::from_pem(first.certificate_pem(), &other.key_pem());
    assert!(matches!(mixed, Err(AuthorityError::KeyMismatch)));
    assert!(matches!(Authority::from_pem(&cert, &key.key_pem), Err(AuthorityError::NotAnAuthority)));
    assert!(!format!("{first:?}").contains("PRIVATE"));
}

#[test]
fn bad_requests_are_refused_with_a_reason() {
    let authority = authority("c1");
    let identity = Identity::new("c1", Role::Agent, "n1").unwrap();
    let key = KeyAndRequest::generate().unwrap();
    let issue = |csr: &str| authority.issue(csr, &identity, &[], SystemTime::now(), HOUR);

    // A request whose signature is another key's.
    let mut forged = der(&key.csr_pem);
    *forged.last_mut().unwrap() ^= 1;
    let forged = pem("CERTIFICATE REQUEST", &forged);
    assert!(matches!(issue(&forged), Err(AuthorityError::Request { .. })));
    for csr in ["", "garbage", &key.key_pem, &"A".repeat(1 << 20)] {
        assert!(matches!(issue(csr), Err(AuthorityError::Request { .. })));
    }
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let error = issue(&csr).unwrap_err().to_string();
        assert!(error.contains("not an ECDSA P-256 key"), "{error}");
    }

    let stranger = Identity::new("c2", Role::Agent, "n1").unwrap();
    let other = authority.issue(&key.csr_pem, &stranger, &[], SystemTime::now(), HOUR);
    assert!(matches!(other, Err(AuthorityError::OtherCluster { .. })));
    let names = [SubjectName::Dns("controller.wharf.internal".to_owned())];
    let taken = authority.issue(&key.csr_pem, &identity, &names, SystemTime::now(), HOUR);
    assert!(matches!(taken, Err(AuthorityError::Name(SubjectNameError::Reserved { .. }))));
}

#[test]
fn credentials_that_do_not_fit_together_are_refused() {
    let (ours, theirs) = (authority("c1"), authority("c1"));
    let (key, other_key) = (KeyAndRequest::generate().unwrap(), KeyAndRequest::generate().unwrap());
    let identity = Identity::new("c1", Role::Agent, "n1").unwrap();
    let cert = ours.issue(&key.csr_pem, &identity, &[], SystemTime::now(), HOUR).unwrap();

    let load = |ca: &str, cert: &str, key: &str| Credentials::from_pem(ca, cert, key).map(|_| ());
    let ca = ours.certificate_pem();
    assert_eq!(load(ca, &cert, &key.key_pem), Ok(()));
    assert_eq!(load(theirs.certificate_pem(), &cert, &key.key_pem), Err(CredentialsError::NotSigned));
    assert_eq!(load(&cert, &cert, &key.key_pem), Err(CredentialsError::NotSigned));
    assert_eq!(load(ca, &cert, &other_key.key_pem), Err(CredentialsError::KeyMismatch));
    assert_eq!(load(ca, &cert, &cert), Err(CredentialsError::Key));
    assert!(matches!(load(ca, ca, &key.key_pem), Err(CredentialsError::Certificate(_))));
    assert!(matches!(load("", &cert, &key.key_pem), Err(CredentialsError::Authority(_))));
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
