//! Tags, the catalog and referrers.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{OCI_IMAGE, OCI_INDEX, Registry, header, refused, sha256};

/// Follows the Link headers from `path` on and returns what each page has under `key`.
async fn pages(registry: &Registry, path: &str, key: &str) -> Vec<Value> {
    let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let response = registry.get(&path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        next = response.headers().get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned()
        });
        pages.push(response.json::<Value>().await.unwrap()[key].clone());
        assert!(pages.len() < 100);
    }
    pages
}

#[tokio::test]
async fn tags_in_order_and_in_pages() {
    let registry = Registry::start().await;
    let (manifest, _) = registry.push_image("app", "v3", 1).await;
    for tag in ["v1", "Z", "v10", "_x", "v2"] {
        let response = registry.put_manifest("app", tag, OCI_IMAGE, &manifest).await;
        assert_eq!(response.status(), StatusCode::CREATED);
    }
    let all = json!(["Z", "_x", "v1", "v10", "v2", "v3"]);
    assert_eq!(registry.json("/v2/app/tags/list").await, json!({"name": "app", "tags": all}));
    let by_two = pages(&registry, "/v2/app/tags/list?n=2", "tags").await;
    assert_eq!(by_two, [json!(["Z", "_x"]), json!(["v1", "v10"]), json!(["v2", "v3"])]);
    assert_eq!(pages(&registry, "/v2/app/tags/list?n=6", "tags").await, [all]);
    assert_eq!(pages(&registry, "/v2/app/tags/list?n=0", "tags").await, [json!([])]);
    assert_eq!(pages(&registry, "/v2/app/tags/list?last=v10", "tags").await, [json!(["v2", "v3"])]);
    // `last` need not exist.
    assert_eq!(pages(&registry, "/v2/app/tags/list?n=9&last=v2z", "tags").await, [json!(["v3"])]);

    for n in ["-1", "x", "1e3", ""] {
        let response = registry.get(&format!("/v2/app/tags/list?n={n}")).send().await.unwrap();
        refused(response, StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID").await;
    }
    let response = registry.get("/v2/nowhere/tags/list").send().await.unwrap();
    refused(response, StatusCode::NOT_FOUND, "NAME_UNKNOWN").await;
}

#[tokio::test]
async fn the_catalog_has_repositories_with_manifests() {
    let registry = Registry::start().await;
    assert_eq!(registry.json("/v2/_catalog").await, json!({"repositories": []}));
    for repo in ["b", "a/b/c", "a-b", "a"] {
        registry.push_image(repo, "v1", 1).await;
    }
    registry.push_blob("only-blobs", b"x").await;
    // In byte order, in which `-` comes before `/`.
    let all = json!(["a", "a-b", "a/b/c", "b"]);
    assert_eq!(registry.json("/v2/_catalog").await, json!({"repositories": all}));
    let paged = pages(&registry, "/v2/_catalog?n=3", "repositories").await;
    assert_eq!(paged, [json!(["a", "a-b", "a/b/c"]), json!(["b"])]);
}

#[tokio::test]
async fn referrers_by_subject_and_type() {
    let registry = Registry::start().await;
    let (image, subject) = registry.push_image("app", "v1", 1).await;
    let none = registry.json(&format!("/v2/app/referrers/{subject}")).await;
    assert_eq!(none, json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));

    let subject_size = image.to_string().len();
    let about = json!({"mediaType": OCI_IMAGE, "digest": subject, "size": subject_size});
    let mut signature = image.clone();
    signature["subject"] = about.clone();
    signature["artifactType"] = json!("application/vnd.example.signature+json");
    signature["annotations"] = json!({"by": "someone"});
    let signature_digest = sha256(signature.to_string().as_bytes());
    let response = registry.put_manifest("app", &signature_digest, OCI_IMAGE, &signature).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(header(&response, "oci-subject"), subject);

    // The type of an image without one is its configuration's; an index can refer too.
    let mut plain = image.clone();
    plain["subject"] = about.clone();
    assert_eq!(registry.put_manifest("app", "plain", OCI_IMAGE, &plain).await.status(), StatusCode::CREATED);
    let index = json!({"schemaVersion": 2, "manifests": [], "subject": about, "artifactType": "application/vnd.example.list"});
    assert_eq!(registry.put_manifest("app", "list", OCI_INDEX, &index).await.status(), StatusCode::CREATED);

    let response = registry.get(&format!("/v2/app/referrers/{subject}")).send().await.unwrap();
    assert_eq!(header(&response, "content-type"), OCI_INDEX);
    assert!(!response.headers().contains_key("oci-filters-applied"));
    let all: Value = response.json().await.unwrap();
    let mut types: Vec<_> =
        all["manifests"].as_array().unwrap().iter().map(|m| m["artifactType"].as_str().unwrap()).collect();
    types.sort_unstable();
    let config_type = "application/vnd.oci.image.config.v1+json";
    assert_eq!(
        types,
        ["application/vnd.example.list", "application/vnd.example.signature+json", config_type]
    );

    let kind = "application/vnd.example.signature%2Bjson";
    let response =
        registry.get(&format!("/v2/app/referrers/{subject}?artifactType={kind}")).send().await.unwrap();
    assert_eq!(header(&response, "oci-filters-applied"), "artifactType");
    let filtered: Value = response.json().await.unwrap();
    let expected = json!([{
        "mediaType": OCI_IMAGE,
        "digest": signature_digest,
        "size": signature.to_string().len(),
        "artifactType": "application/vnd.example.signature+json",
        "annotations": {"by": "someone"},
    }]);
    assert_eq!(filtered["manifests"], expected);

    assert_eq!(
        registry.delete(&format!("/v2/app/manifests/{signature_digest}")).send().await.unwrap().status(),
        StatusCode::ACCEPTED
    );
    let rest = registry.json(&format!("/v2/app/referrers/{subject}")).await;
    assert_eq!(rest["manifests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_subject_need_not_exist_yet() {
    let registry = Registry::start().await;
    let (mut image, _) = registry.push_image("app", "v1", 1).await;
    let subject = sha256(b"to come");
    image["subject"] = json!({"mediaType": OCI_IMAGE, "digest": subject, "size": 7});
    let response = registry.put_manifest("app", "v2", OCI_IMAGE, &image).await;
    assert_eq!(header(&response, "oci-subject"), subject);
    let list = registry.json(&format!("/v2/app/referrers/{subject}")).await;
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    // Another repository's referrers are its own.
    let list = registry.json(&format!("/v2/other/referrers/{subject}")).await;
    assert_eq!(list["manifests"], json!([]));
    let bad = registry.get("/v2/app/referrers/sha256:xyz").send().await.unwrap();
    refused(bad, StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
}

#[tokio::test]
async fn long_referrers_lists_come_in_pages() {
    let registry = Registry::start().await;
    let (mut image, subject) = registry.push_image("app", "v1", 1).await;
    image["subject"] = json!({"mediaType": OCI_IMAGE, "digest": subject, "size": image.to_string().len()});
    // Two fill an answer.
    for i in 0..3 {
        image["annotations"] = json!({"number": i.to_string(), "long": "x".repeat(3_000_000)});
        let response = registry.put_manifest("app", &format!("r{i}"), OCI_IMAGE, &image).await;
        assert_eq!(response.status(), StatusCode::CREATED);
    }
    let kind = "application%2Fvnd%2Eoci%2Eimage%2Econfig%2Ev1%2Bjson";
    for query in [String::new(), format!("?artifactType={kind}")] {
        let pages = pages(&registry, &format!("/v2/app/referrers/{subject}{query}"), "manifests").await;
        let counts: Vec<_> = pages.iter().map(|page| page.as_array().unwrap().len()).collect();
        assert_eq!(counts, [2, 1], "{query}");
    }
}
