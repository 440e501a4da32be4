//! Tokens that nobody should believe (RFC 8725).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use narthex_core::schema::Schema;
use narthex_core::testing::{TestCore, sign_raw};
use narthex_core::tokens::MAX_TOKEN_BYTES;
use narthex_core::{Random, keys};
use serde_json::{Value, json};

use crate::node::{api_token, assert_unauthenticated, caller, claims, node, segment};

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Claims of an API client's token that is good for five minutes, with `change` laid over them; a null removes.
fn payload(node: &TestCore, change: &Value) -> String {
    let (now, id) = (node.clock.real_now().seconds(), &node.dev_client.client_id);
    let mut claims = json!({
        "iss": "https://dev.test", "sub": id, "client_id": id, "aud": [id], "iat": now, "nbf": now, "exp": now + 300, "jti": "tkn_1"
    });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.to_string()
}

async fn refused(node: &TestCore, token: &str, case: &str) {
    assert_unauthenticated(&caller(node, &node.dev, token).await, case);
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn mgmt_02_malformed_tokens_are_refused(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        let parts: Vec<&str> = token.split('.').collect();
        let (head, body, signature) = (parts[0], parts[1], parts[2]);
        let cases = [
            "x".to_owned(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            head.to_owned(),
            format!("{head}.{body}"),
            format!("{head}.{body}."),
            format!("{head}..{signature}"),
            format!(".{body}.{signature}"),
            format!("{token}."),
            format!("{token}.{signature}"),
            format!(".{token}"),
            format!("{token}="),
            format!("{head}.{body}=.{signature}"),
            format!("{head}.{body}.{signature}A"),
            format!("{head}.{body}.{}", &signature[1..]),
            format!("{head} .{body}.{signature}"),
            format!("{head}.{body}.{signature}\u{e9}"),
            // Another spelling of the same bytes would be a second token with one signature.
            format!("{head}.{body}.{}", STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).unwrap())),
            "a".repeat(MAX_TOKEN_BYTES + 1),
        ];
        for case in cases {
            refused(&node, &case, &case).await;
        }
        assert!(caller(&node, &node.dev, &format!("  {token} ")).await.is_ok(), "the header's own white space does not matter");
        for at in [0, 5, 40, 120, 200, signature.len() - 1] {
            let mut bytes = signature.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            refused(&node, &format!("{head}.{body}.{}", String::from_utf8(bytes).unwrap()), "flipped signature").await;
        }
    }

    async fn mgmt_02_claims_are_those_that_were_signed(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        let (head, signature) = (token.split('.').next().unwrap(), token.rsplit('.').next().unwrap());
        let mut other = claims(&token);
        other["exp"] = json!(other["exp"].as_i64().unwrap() + 1);
        refused(&node, &format!("{head}.{}.{signature}", encode(other.to_string())), "longer life").await;
    }

    async fn mgmt_02_times_are_checked(db: TestDb) {
        let node = node(db).await;
        let now = node.clock.real_now().seconds();
        let cases = [
            ("expired", json!({"exp": now - 1})),
            ("expires now", json!({"exp": now})),
            ("no exp", json!({"exp": null})),
            ("exp as text", json!({"exp": (now + 300).to_string()})),
            ("exp as fraction", json!({"exp": (f64::from(u32::try_from(now).unwrap()) + 300.5)})),
            ("exp beyond 64 bits", json!({"exp": 1e30})),
            ("from the future", json!({"nbf": now + 60})),
            ("no nbf", json!({"nbf": null})),
            ("no iat", json!({"iat": null})),
        ];
        for (case, change) in cases {
            let token = sign_raw(&node, node.dev.id, None, &payload(&node, &change)).await.unwrap();
            refused(&node, &token, case).await;
        }
        let good = sign_raw(&node, node.dev.id, None, &payload(&node, &json!({}))).await.unwrap();
        assert!(caller(&node, &node.dev, &good).await.is_ok());
    }

    async fn mgmt_02_a_cached_token_expires_all_the_same(db: TestDb) {
        let node = node(db).await;
        let now = node.clock.real_now().seconds();
        let token = sign_raw(&node, node.dev.id, None, &payload(&node, &json!({"exp": now + 2}))).await.unwrap();
        assert!(caller(&node, &node.dev, &token).await.is_ok());
        while node.clock.real_now().seconds() < now + 2 {
            assert!(caller(&node, &node.dev, &token).await.is_ok() || node.clock.real_now().seconds() >= now + 2);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let error = caller(&node, &node.dev, &token).await.expect_err("expired");
        assert_eq!(error.message(), "Token expired");
    }

    async fn mgmt_02_the_issuer_is_the_environment(db: TestDb) {
        let node = node(db).await;
        for issuer in ["https://prd.test", "https://auth.test", "http://dev.test", "https://dev.test/", "https://DEV.test", ""] {
            let token = sign_raw(&node, node.dev.id, None, &payload(&node, &json!({"iss": issuer}))).await.unwrap();
            refused(&node, &token, issuer).await;
        }
    }

    async fn mgmt_02_a_claim_given_twice_is_refused(db: TestDb) {
        let node = node(db).await;
        for doubled in ["\"sub\":\"skc_1\"", "\"exp\":99999999999", "\"at_hash\":\"x\",\"at_hash\":\"y\"", "\"client_id\":\"skc_1\""] {
            let good = payload(&node, &json!({}));
            let payload = format!("{{{doubled},{}", &good[1..]);
            let token = sign_raw(&node, node.dev.id, None, &payload).await.unwrap();
            refused(&node, &token, doubled).await;
        }
    }

    async fn mgmt_02_only_the_header_that_we_write_is_believed(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        let kid = segment(&token, 0)["kid"].as_str().unwrap().to_owned();
        let body = payload(&node, &json!({}));
        let headers = [
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "jku": "https://evil.example/keys"}),
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "x5u": "https://evil.example/cert"}),
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}),
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "crit": ["exp"], "exp": 1}),
            json!({"alg": "RS256", "kid": kid, "typ": "JWT", "b64": false, "crit": ["b64"]}),
            json!({"alg": "RS256", "kid": kid, "typ": "at+jwt"}),
            json!({"alg": "RS256", "kid": kid, "typ": "logout+jwt"}),
            json!({"alg": "RS256", "kid": kid}),
            json!({"alg": "RS256", "typ": "JWT"}),
            json!({"alg": "RS256", "kid": "snk_1", "typ": "JWT"}),
            json!({"alg": "RS256", "kid": "../../etc/passwd", "typ": "JWT"}),
            json!({"alg": "PS256", "kid": kid, "typ": "JWT"}),
            json!({"alg": "rs256", "kid": kid, "typ": "JWT"}),
            json!({"alg": "none", "kid": kid, "typ": "JWT"}),
        ];
        for header in headers {
            let header = header.to_string();
            let token = sign_raw(&node, node.dev.id, Some(&header), &body).await.unwrap();
            refused(&node, &token, &header).await;
            let (signed, _) = token.rsplit_once('.').unwrap();
            refused(&node, &format!("{signed}."), &format!("{header}, unsigned")).await;
        }
        let doubled = format!("{{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"{kid}\",\"typ\":\"JWT\"}}");
        let token = sign_raw(&node, node.dev.id, Some(&doubled), &body).await.unwrap();
        refused(&node, &token, &doubled).await;
        let ours = format!("{{\"alg\":\"RS256\",\"kid\":\"{kid}\",\"typ\":\"JWT\"}}");
        let token = sign_raw(&node, node.dev.id, Some(&ours), &body).await.unwrap();
        assert!(caller(&node, &node.dev, &token).await.is_ok(), "and that one is");
    }

    async fn mgmt_02_the_public_key_is_no_shared_secret(db: TestDb) {
        let node = node(db).await;
        let jwks: Value = serde_json::from_str(&keys::jwks(&node, node.dev.id).await.unwrap()).unwrap();
        let key = &jwks["keys"][0];
        let kid = key["kid"].as_str().unwrap();
        let der: Vec<u8> = node.db
            .read(async |tx| tx.one::<(Vec<u8>,)>("SELECT public_key FROM signing_keys WHERE state = 2 ORDER BY id LIMIT 1", &[]).await)
            .await
            .map(|(der,)| der)
            .unwrap();
        let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
        let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", STANDARD.encode(&der));
        for secret in [der.as_slice(), &modulus, pem.as_bytes(), key["n"].as_str().unwrap().as_bytes(), key.to_string().as_bytes()] {
            for alg in ["HS256", "RS256"] {
                let header = format!("{{\"alg\":\"{alg}\",\"kid\":\"{kid}\",\"typ\":\"JWT\"}}");
                let signed = format!("{}.{}", encode(header), encode(payload(&node, &json!({}))));
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
                refused(&node, &format!("{signed}.{}", encode(tag.as_ref())), alg).await;
            }
        }
    }

    async fn mgmt_02_a_key_counts_only_in_its_own_environment(db: TestDb) {
        let node = node(db).await;
        let dev_kid = segment(&api_token(&node).await, 0)["kid"].as_str().unwrap().to_owned();
        let body = payload(&node, &json!({}));
        // Signed by PRD's key under PRD's kid, and under DEV's.
        let token = sign_raw(&node, node.prd.id, None, &body).await.unwrap();
        refused(&node, &token, "another environment's kid").await;
        let header = format!("{{\"alg\":\"RS256\",\"kid\":\"{dev_kid}\",\"typ\":\"JWT\"}}");
        let token = sign_raw(&node, node.prd.id, Some(&header), &body).await.unwrap();
        refused(&node, &token, "our kid over another environment's signature").await;
        // The product's own key is looked at on every host, but its environment's tokens are only operators'.
        let own = payload(&node, &json!({"iss": "https://auth.test"}));
        let token = sign_raw(&node, node.system.id, None, &own).await.unwrap();
        refused(&node, &token, "the product's own key for a customer's client").await;
        let token = sign_raw(&node, node.system.id, None, &body).await.unwrap();
        refused(&node, &token, "the product's own key with a customer's issuer").await;
    }

    async fn mgmt_02_no_mutation_of_a_token_is_accepted(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        let random = Random::seeded(0x6e61_7274);
        let number = |below: usize| usize::from(u16::from_be_bytes(random.bytes())) % below;
        for round in 0..3_000 {
            let mut bytes = token.as_bytes().to_vec();
            for _ in 0..=number(3) {
                let at = number(bytes.len());
                match number(4) {
                    0 => bytes[at] = b"AZaz09-_.=+/ {}\"\\"[number(17)],
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, b"A.=-"[number(4)]),
                    _ => {
                        let other = (at + 1 + number(40)) % bytes.len();
                        bytes.swap(at, other);
                    }
                }
            }
            let mutant = String::from_utf8(bytes).unwrap();
            if mutant.trim() != token {
                refused(&node, &mutant, &format!("round {round}: {mutant}")).await;
            }
        }
    }
}
