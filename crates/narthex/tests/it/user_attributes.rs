//! The registry of user attributes as clients reach it.

use serde_json::{Value, json};

use crate::roles::Client;

const SIGN_ON: &str = "/api/v1/sso-user-attributes";
const PROFILE: &str = "/api/v1/user-profile-attributes";
const DIRECTORY: &str = "/api/v1/directory-user-attributes";

fn attribute(key: &str) -> Value {
    json!({ "key": key, "label": "Department", "datatype": "STRING", "enabled": true })
}

fn custom(list: &Value) -> Vec<&str> {
    let all = list["user_attributes"].as_array().expect("a list").iter();
    all.filter(|item| item["category"] == "CUSTOM").map(|item| item["key"].as_str().expect("a key")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uat_01_uat_02_ctl_53_attributes_over_rest_under_all_three_paths() {
    let client = Client::start().await;
    let made = client.ok(200, "POST", SIGN_ON, Some(attribute("department"))).await["user_attribute"].clone();
    assert_eq!(
        (&made["category"], &made["datatype"], &made["required"]),
        (&json!("CUSTOM"), &json!("STRING"), &json!(false))
    );
    assert_eq!(
        made["sso_addition_info"],
        json!({ "default_saml_mapping": "department", "default_oidc_mapping": "department" })
    );
    let mut mapped = attribute("team");
    mapped["sso_addition_info"] = json!({ "default_saml_mapping": "Team", "default_oidc_mapping": "team" });
    client.ok(200, "POST", PROFILE, Some(mapped)).await;
    for path in [SIGN_ON, PROFILE] {
        let list = client.ok(200, "GET", path, None).await;
        assert_eq!(custom(&list), ["department", "team"]);
        assert_eq!(
            (&list["user_attributes"][0]["key"], &list["user_attributes"][0]["category"]),
            (&json!("sub"), &json!("STANDARD"))
        );
    }
    assert_eq!(custom(&client.ok(200, "GET", DIRECTORY, None).await), [""; 0]);
    let made = client.ok(200, "POST", DIRECTORY, Some(attribute("floor"))).await;
    assert_eq!(made["user_attribute"]["directory_user_additional_info"], json!({}));
    assert_eq!(custom(&client.ok(200, "GET", DIRECTORY, None).await), ["floor"]);

    let mut change = attribute("ignored");
    change["label"] = json!("Unit");
    let changed = client.ok(200, "PATCH", &format!("{PROFILE}/department"), Some(change.clone())).await;
    assert_eq!(
        (&changed["user_attribute"]["key"], &changed["user_attribute"]["label"]),
        (&json!("department"), &json!("Unit"))
    );
    client.refused(404, "PATCH", &format!("{SIGN_ON}/floor"), Some(change.clone())).await;
    client.refused(404, "PATCH", &format!("{DIRECTORY}/department_2"), Some(change.clone())).await;
    change["sso_addition_info"] = json!({ "default_saml_mapping": "x", "default_oidc_mapping": "x" });
    client.refused(400, "PATCH", &format!("{DIRECTORY}/floor"), Some(change)).await;
    let error = client.refused(400, "POST", SIGN_ON, Some(attribute("team"))).await;
    assert_eq!(error["message"], "duplicate key not allowed: key already exists");

    assert_eq!(client.ok(200, "DELETE", &format!("{SIGN_ON}/team"), None).await, json!({}));
    client.refused(404, "DELETE", &format!("{PROFILE}/team"), None).await;
    client.refused(400, "DELETE", &format!("{SIGN_ON}/email"), None).await;
    client.ok(200, "DELETE", &format!("{DIRECTORY}/floor"), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uat_01_uat_03_bad_and_reserved_keys_are_400() {
    let client = Client::start().await;
    for path in [SIGN_ON, DIRECTORY] {
        for bad in
            ["", "ab", "1st", "with space", "dot.ted", &"x".repeat(26), "roles", "email", "sub", "iss", "client_id"]
        {
            let error = client.refused(400, "POST", path, Some(attribute(bad))).await;
            assert_eq!(error["details"][0]["error_code"], "INVALID_ARGUMENT", "{bad}");
        }
        for (field, value) in [("label", json!("ab")), ("datatype", json!("UNSPECIFIED_DATATYPE"))] {
            let mut given = attribute("fine");
            given[field] = value;
            client.refused(400, "POST", path, Some(given)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uat_01_sessions_and_portals_may_read_and_where_they_set_up_sign_on_add() {
    let client = Client::start().await;
    let acme = client.organization("Acme").await;
    let send = async |token: &str, verb: &str, path: &str, json: Option<Value>| {
        client.harness.rest(verb, path, Some(token), json.as_ref()).await.status
    };
    let reader = client.session(&acme, &["sk_org_settings_read"]).await;
    let writer = client.session(&acme, &["sk_org_sso_manage"]).await;
    let portal = client.portal(&acme, &["sso"]).await;
    for token in [&reader, &writer, &portal] {
        for path in [SIGN_ON, DIRECTORY] {
            assert_eq!(send(token, "GET", path, None).await, 200);
        }
    }
    assert_eq!(send(&reader, "POST", SIGN_ON, Some(attribute("by_reader"))).await, 403);
    assert_eq!(send(&writer, "POST", SIGN_ON, Some(attribute("by_writer"))).await, 200);
    assert_eq!(send(&portal, "POST", SIGN_ON, Some(attribute("by_portal"))).await, 200);
    assert_eq!(
        send(&portal, "POST", DIRECTORY, Some(attribute("by_portal"))).await,
        403,
        "its link is for single sign-on"
    );
    assert_eq!(send(&writer, "POST", DIRECTORY, Some(attribute("by_writer"))).await, 403);
    // What all organizations share is not one organization's to change.
    for token in [&reader, &writer, &portal] {
        assert_eq!(send(token, "PATCH", &format!("{SIGN_ON}/by_portal"), Some(attribute("by_portal"))).await, 403);
        assert_eq!(send(token, "DELETE", &format!("{SIGN_ON}/by_portal"), None).await, 403);
    }
    assert_eq!(custom(&client.ok(200, "GET", SIGN_ON, None).await), ["by_writer", "by_portal"]);
}
