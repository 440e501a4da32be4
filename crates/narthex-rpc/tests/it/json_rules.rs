//! ProtoJSON, rule by rule, as REST callers meet it.

use narthex_api::contract::Message;
use narthex_rpc::json::{self, Emit};

fn descriptor(name: &str) -> &'static Message {
    narthex_api::descriptor(&format!("scalekit.v1.{name}")).unwrap_or_else(|| panic!("{name}"))
}

/// Reads a text and prints what is set.
fn through(name: &str, text: &str) -> Result<String, String> {
    let message = descriptor(name);
    let wire = json::decode(message, text.as_bytes()).map_err(|problem| problem.to_string())?;
    Ok(String::from_utf8(json::encode(message, &wire, Emit::Set).expect("prints")).expect("UTF-8"))
}

fn ok(name: &str, text: &str, printed: &str) {
    assert_eq!(through(name, text).as_deref(), Ok(printed), "{text}");
}

fn refused(name: &str, text: &str, problem: &str) {
    match through(name, text) {
        Ok(printed) => panic!("{text} was taken as {printed}"),
        Err(message) => assert!(message.contains(problem), "{text}: {message}"),
    }
}

const ORGANIZATION: &str = "organizations.CreateOrganization";

#[test]
fn api_01_both_spellings_are_read_and_one_is_printed() {
    ok(ORGANIZATION, r#"{"display_name":"A"}"#, r#"{"display_name":"A"}"#);
    ok(ORGANIZATION, r#"{"displayName":"A"}"#, r#"{"display_name":"A"}"#);
    ok(
        ORGANIZATION,
        r#" { "displayName" : "A" , "unknown" : [ { "a" : [ null , 1e3 , "x" ] } ] } "#,
        r#"{"display_name":"A"}"#,
    );
}

#[test]
fn a_field_given_twice_is_refused_in_any_spelling() {
    refused(ORGANIZATION, r#"{"display_name":"A","displayName":"B"}"#, "display_name: is given twice");
    refused(ORGANIZATION, r#"{"display_name":"A","display_name":"A"}"#, "display_name: is given twice");
    refused(ORGANIZATION, r#"{"metadata":{"a":"1","\u0061":"2"}}"#, "metadata[\"a\"]: is given twice");
    refused("organizations.GetOrganizationRequest", r#"{"id":"org_1","external_id":"x"}"#, "only one of");
    // A null does not set a member of a oneof.
    ok("organizations.GetOrganizationRequest", r#"{"id":null,"external_id":"x"}"#, r#"{"external_id":"x"}"#);
}

#[test]
fn null_is_unset_for_everything_but_value() {
    ok(ORGANIZATION, r#"{"display_name":null,"metadata":null,"external_id":null}"#, "{}");
    refused(ORGANIZATION, r#"{"metadata":{"a":null}}"#, "metadata[\"a\"]: must not be null");
    refused("clients.Client", r#"{"post_login_uris":[null]}"#, "must not be null");
}

#[test]
fn integers_come_as_numbers_or_strings() {
    let request = "organizations.ListOrganizationsRequest";
    for text in ["30", "\"30\"", "30.0", "3e1", "\"3e1\"", "300e-1"] {
        ok(request, &format!("{{\"page_size\":{text}}}"), r#"{"page_size":30}"#);
    }
    for text in ["1.5", "\"\"", "\"abc\"", "\" 1\"", "true", "[]", "{}", "\"NaN\"", "01"] {
        assert!(through(request, &format!("{{\"page_size\":{text}}}")).is_err(), "{text}");
    }
    refused(request, r#"{"page_size":4294967296}"#, "page_size: the number is out of range");
    refused(request, r#"{"page_size":-1}"#, "page_size: the number is out of range");
}

#[test]
fn int64_is_printed_as_a_string() {
    let message = descriptor("auth.passwordless.SendPasswordlessResponse");
    let wire = json::decode(message, br#"{"expires_at":"9007199254740993","passwordless_type":"OTP"}"#).unwrap();
    let text = String::from_utf8(json::encode(message, &wire, Emit::Defaults).unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"auth_request_id":"","expires_at":"9007199254740993","expires_in":0,"passwordless_type":"OTP"}"#
    );
}

#[test]
fn enums_are_names_and_an_unknown_name_is_refused() {
    let request = "auth.passwordless.SendPasswordlessRequest";
    ok(request, r#"{"template":"SIGNIN"}"#, r#"{"template":"SIGNIN"}"#);
    ok(request, r#"{"template":1}"#, r#"{"template":"SIGNIN"}"#);
    ok(request, r#"{"template":77}"#, r#"{"template":77}"#);
    ok(request, r#"{"template":-3}"#, r#"{"template":-3}"#);
    refused(request, r#"{"template":"signin"}"#, "template: is not a known value");
    refused(request, r#"{"template":1.5}"#, "must be an integer");
}

#[test]
fn u0000_is_refused_wherever_it_hides() {
    refused(ORGANIZATION, r#"{"display_name":"a\u0000b"}"#, "display_name: must not contain U+0000");
    refused(ORGANIZATION, r#"{"metadata":{"a":"\u0000"}}"#, "metadata[\"a\"]: must not contain U+0000");
    refused(ORGANIZATION, r#"{"metadata":{"\u0000":"a"}}"#, "must not contain U+0000");
    let context = "connections.CreateConnection";
    refused(context, r#"{"context":{"a":[{"b":"\u0000"}]}}"#, "must not contain U+0000");
    refused(context, r#"{"context":{"a\u0000":1}}"#, "must not contain U+0000");
    // On the wire too.
    let message = descriptor(ORGANIZATION);
    let mut wire = json::decode(message, br#"{"display_name":"aXb"}"#).unwrap();
    let at = wire.iter().position(|byte| *byte == b'X').unwrap();
    wire[at] = 0;
    assert_eq!(
        narthex_rpc::wire::check(message, &wire).unwrap_err().to_string(),
        "display_name: must not contain U+0000"
    );
    wire[at] = 0xff;
    assert_eq!(narthex_rpc::wire::check(message, &wire).unwrap_err().to_string(), "display_name: not valid UTF-8");
}

#[test]
fn strings_are_strict_json() {
    ok(
        ORGANIZATION,
        r#"{"display_name":"\ud83d\ude00\/\b\f\n\r\t\"\\\u00e4"}"#,
        r#"{"display_name":"😀/\u0008\u000c\n\r\t\"\\ä"}"#,
    );
    for text in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83d\u0041""#,
        r#""\x""#,
        r#""\u12""#,
        "\"\n\"",
        "\"\t\"",
        "\"abc",
        "'a'",
        "a",
    ] {
        assert!(through(ORGANIZATION, &format!("{{\"display_name\":{text}}}")).is_err(), "{text}");
    }
    assert!(json::decode(descriptor(ORGANIZATION), b"{\"display_name\":\"\xff\"}").is_err());
}

#[test]
fn the_text_is_exactly_one_json_object() {
    for text in [
        "",
        " ",
        "[]",
        "1",
        "\"a\"",
        "null",
        "true",
        "{} {}",
        "{}x",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{,}",
        "{\"a\":1,}",
        "{a:1}",
        "\u{feff}{}",
    ] {
        assert!(through(ORGANIZATION, text).is_err(), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| format!("{{\"context\":{{\"a\":{}1{}}}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(through("connections.CreateConnection", &nested(40)).is_ok());
    refused("connections.CreateConnection", &nested(200), "nested too deeply");
    refused("connections.CreateConnection", &nested(100_000), "nested too deeply");
    // In members that nobody knows as well.
    refused(ORGANIZATION, &format!("{{\"x\":{}", "[".repeat(100_000)), "nested too deeply");
    // What JSON may nest, prost can read.
    let message = descriptor("connections.CreateConnection");
    for levels in 0..200 {
        if let Ok(wire) = json::decode(message, nested(levels).as_bytes()) {
            narthex_rpc::wire::check(message, &wire).unwrap();
            let read: Result<narthex_api::scalekit::v1::connections::CreateConnection, _> =
                prost::Message::decode(&wire[..]);
            assert!(read.is_ok(), "{levels}");
        }
    }
}

/// gRPC can spell what JSON cannot; stored, it would break every REST answer that shows it.
#[test]
fn values_without_a_json_form_are_refused_on_the_wire() {
    use prost::Message as _;
    let check =
        |name: &str, wire: Vec<u8>| narthex_rpc::wire::check(descriptor(name), &wire).map_err(|it| it.to_string());
    let stats = |seconds, nanos| {
        let request = narthex_api::scalekit::v1::agentkit_logs::GetOverviewStatsRequest {
            start_time: Some(prost_types::Timestamp { seconds, nanos }),
            ..Default::default()
        };
        check("agentkit_logs.GetOverviewStatsRequest", request.encode_to_vec())
    };
    assert_eq!(stats(0, 0), Ok(()), "Java sends an all-zero time for none");
    assert_eq!(stats(253_402_300_799, 999_999_999), Ok(()));
    for (seconds, nanos) in [(253_402_300_800, 0), (-62_135_596_801, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, 0)] {
        assert_eq!(stats(seconds, nanos), Err("start_time: the time is out of range".to_owned()));
    }
    let token = |seconds, nanos| {
        let request = narthex_api::scalekit::v1::mcp::CreateMcpSessionTokenRequest {
            expiry: Some(prost_types::Duration { seconds, nanos }),
            ..Default::default()
        };
        check("mcp.CreateMcpSessionTokenRequest", request.encode_to_vec())
    };
    assert_eq!(token(-1, -1), Ok(()));
    for (seconds, nanos) in [(1, -1), (-1, 1), (119, 1_000_000_000), (i64::MIN, 0), (315_576_000_001, 0)] {
        assert_eq!(token(seconds, nanos), Err("expiry: the duration is out of range".to_owned()));
    }
    for (number, good) in [(1.0, true), (f64::NAN, false), (f64::INFINITY, false), (f64::NEG_INFINITY, false)] {
        let value = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(number)) };
        let fields = [("a".to_owned(), value)].into_iter().collect();
        let request = narthex_api::scalekit::v1::connections::CreateConnection {
            context: Some(prost_types::Struct { fields }),
            ..Default::default()
        };
        assert_eq!(check("connections.CreateConnection", request.encode_to_vec()).is_ok(), good, "{number}");
    }
}

/// Two bytes on the wire, hundreds in memory.
#[test]
fn the_number_of_elements_is_bounded() {
    let list = |elements: usize| format!("{{\"context\":{{\"a\":[{}0]}}}}", "0,".repeat(elements - 1));
    assert!(through("connections.CreateConnection", &list(100_000)).is_ok());
    refused("connections.CreateConnection", &list(300_000), "has too many elements");
    refused(
        "connections.CreateConnection",
        &format!("{{\"context\":{{\"a\":[{}0]}}}}", "{},".repeat(200_000)),
        "has too many",
    );
    let message = descriptor("directories.ListDirectoryUsersResponse");
    let wire = [10, 0].repeat(300_000);
    assert!(narthex_rpc::wire::check(message, &wire).unwrap_err().to_string().contains("has too many elements"));
    assert!(narthex_rpc::wire::check(message, &wire[..200_000]).is_ok());
    // What JSON lets through, the check of the wire lets through as well: both count alike.
    for elements in [124_990, 124_995, 125_000, 249_990, 249_995, 249_998, 250_000] {
        for element in ["0,", "{},"] {
            let text = format!("{{\"context\":{{\"a\":[{}0]}}}}", element.repeat(elements));
            if let Ok(wire) = json::decode(descriptor("connections.CreateConnection"), text.as_bytes()) {
                narthex_rpc::wire::check(descriptor("connections.CreateConnection"), &wire).unwrap();
            }
        }
    }
}

#[test]
fn well_known_types_have_their_own_form() {
    let stats = "agentkit_logs.GetOverviewStatsRequest";
    ok(stats, r#"{"start_time":"2026-11-24T06:10:00.25+02:00"}"#, r#"{"start_time":"2026-11-24T04:10:00.250Z"}"#);
    refused(stats, r#"{"start_time":"yesterday"}"#, "start_time: must be an RFC 3339 time");
    refused(stats, r#"{"start_time":{"seconds":1}}"#, "start_time: must be a string");
    let client = "clients.UpdateClientRequest";
    ok(client, r#"{"mask":"postLoginUris,initiate_login_uri"}"#, r#"{"mask":"postLoginUris,initiateLoginUri"}"#);
    refused(client, r#"{"mask":"a b"}"#, "must be field paths");
    let settings = "environments.SessionSettings";
    ok(settings, r#"{"access_token_expiry":300}"#, r#"{"access_token_expiry":300}"#);
    ok(settings, r#"{"access_token_expiry":0}"#, r#"{"access_token_expiry":0}"#);
    ok(settings, r#"{"access_token_expiry":null}"#, "{}");
    let connection = "connections.CreateConnection";
    ok(
        connection,
        r#"{"context":{"z":null,"n":1.0,"f":1.5,"t":true,"s":"x","l":[1,[],{}],"o":{}}}"#,
        r#"{"context":{"f":1.5,"l":[1,[],{}],"n":1,"o":{},"s":"x","t":true,"z":null}}"#,
    );
    refused(connection, r#"{"context":{"a":1,"a":2}}"#, "given twice");
    refused(connection, r#"{"context":{"a":1e999}}"#, "out of range");
    refused(connection, r#"{"context":[]}"#, "must be a JSON object");
    let mcp = "mcp.CreateMcpSessionTokenRequest";
    ok(mcp, r#"{"expiry":"90.5s"}"#, r#"{"expiry":"90.500s"}"#);
    refused(mcp, r#"{"expiry":"90"}"#, "must be a duration");
}

#[test]
fn api_02_what_is_empty_is_printed_and_what_is_unset_is_not() {
    let message = descriptor("organizations.ListOrganizationsResponse");
    let text = String::from_utf8(json::encode(message, &[], Emit::Defaults).unwrap()).unwrap();
    assert_eq!(text, r#"{"next_page_token":"","total_size":0,"organizations":[],"prev_page_token":""}"#);
    let message = descriptor("organizations.Organization");
    let text = String::from_utf8(json::encode(message, &[], Emit::Defaults).unwrap()).unwrap();
    assert!(
        text.contains("\"metadata\":{}") && !text.contains("external_id") && !text.contains("create_time"),
        "{text}"
    );
}

#[test]
fn a_patch_without_a_mask_touches_what_it_names() {
    let paths =
        |text: &str| json::field_paths(descriptor("organizations.UpdateOrganization"), text.as_bytes()).unwrap();
    assert_eq!(paths(r#"{"displayName":"","metadata":{},"unknown":1}"#), ["display_name", "metadata"]);
    assert_eq!(paths(r#"{"external_id":null}"#), ["external_id"]);
    assert!(paths("{}").is_empty() && paths("null").is_empty());
    let nested = json::field_paths(
        descriptor("organizations.UpdateOrganizationRequest"),
        br#"{"organization":{"display_name":"a","metadata":{"x":"y"}},"id":"org_1"}"#,
    );
    assert_eq!(nested.unwrap(), ["organization.display_name", "organization.metadata", "id"]);
}
