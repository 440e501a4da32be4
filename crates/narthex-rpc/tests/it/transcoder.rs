//! The laws of the transcoder, over every message of the table: what is printed reads back, what is read decodes with prost, and
//! prost-reflect agrees.

use crate::support::{Choices, make, messages, pool, reflect, reflected_json, validator};
use narthex_rpc::json::{self, Emit};
use narthex_rpc::wire;
use proptest::prelude::*;
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;

/// The same JSON value, as far as numbers go: `3` and `3.0` are one.
fn same(ours: &serde_json::Value, theirs: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[test]
fn the_table_is_whole() {
    let all = messages();
    assert!(all.len() > 1_000, "{} messages", all.len());
    assert!(all.iter().all(|message| message.fields.len() <= 64), "fields are tracked in 64 bits");
    assert!(all.iter().all(|message| message.oneofs.len() <= 64));
}

#[test]
fn api_02_json_agrees_with_prost_reflect_for_every_message() {
    for (index, message) in messages().iter().enumerate() {
        let descriptor = reflect(pool(), message);
        for seed in 0..8 {
            let wire = make(message, &mut Choices::new(seed << 32 | index as u64), 4);
            wire::check(message, &wire).unwrap_or_else(|problem| panic!("{}: {problem}", message.name));
            let ours = json::encode(message, &wire, Emit::Defaults)
                .unwrap_or_else(|problem| panic!("{}: {problem}", message.name));
            let parsed: serde_json::Value =
                serde_json::from_slice(&ours).unwrap_or_else(|e| panic!("{}: {e}", message.name));
            let dynamic = DynamicMessage::decode(descriptor.clone(), &wire[..]).unwrap();
            let theirs = reflected_json(&dynamic);
            assert!(same(&parsed, &theirs), "{}\nours   {parsed}\ntheirs {theirs}", message.name);

            // And back: our reading of our text, and our reading of theirs, is the message it was.
            for text in [ours.clone(), serde_json::to_vec(&theirs).unwrap()] {
                let again =
                    json::decode(message, &text).unwrap_or_else(|problem| panic!("{}: {problem}", message.name));
                wire::check(message, &again).unwrap();
                let again = DynamicMessage::decode(descriptor.clone(), &again[..]).unwrap();
                let again = DynamicMessage::decode(descriptor.clone(), &again.encode_to_vec()[..]).unwrap();
                let dynamic = DynamicMessage::decode(descriptor.clone(), &dynamic.encode_to_vec()[..]).unwrap();
                assert!(again == dynamic, "{}", message.name);
            }

            // Their reading of our text, too.
            let mut reader = serde_json::Deserializer::from_slice(&ours);
            let read = DynamicMessage::deserialize(descriptor.clone(), &mut reader).unwrap();
            // Through the wire once more: prost-reflect keeps empty lists that it read as set.
            let read = DynamicMessage::decode(descriptor.clone(), &read.encode_to_vec()[..]).unwrap();
            let dynamic = DynamicMessage::decode(descriptor.clone(), &dynamic.encode_to_vec()[..]).unwrap();
            assert!(read == dynamic, "{}", message.name);
        }
    }
}

#[test]
fn api_02_json_is_deterministic() {
    let message = narthex_api::descriptor("scalekit.v1.organizations.CreateOrganization").unwrap();
    let text = |order: &[&str]| {
        let members: Vec<_> = order.iter().map(|key| format!("\"{key}\":\"v\"")).collect();
        let wire = json::decode(message, format!("{{\"metadata\":{{{}}}}}", members.join(",")).as_bytes()).unwrap();
        String::from_utf8(json::encode(message, &wire, Emit::Defaults).unwrap()).unwrap()
    };
    assert_eq!(text(&["b", "a", "c"]), text(&["c", "b", "a"]));
}

/// Reads the bytes with the generated types of some requests: deep ones, maps, oneofs, well-known types, lists.
fn prost_reads(name: &str, wire: &[u8]) -> Option<bool> {
    use narthex_api::scalekit::v1::{clients, connections, directories, environments, organizations, tools, users};
    macro_rules! read {
        ($($module:ident::$message:ident),* $(,)?) => {
            match name.strip_prefix("scalekit.v1.")? {
                $(concat!(stringify!($module), ".", stringify!($message)) => {
                    Some(<$module::$message as prost::Message>::decode(wire).is_ok())
                })*
                _ => None,
            }
        };
    }
    read!(
        clients::CreateClient,
        clients::UpdateClientRequest,
        connections::Connection,
        connections::CreateConnection,
        directories::ListDirectoryUsersRequest,
        environments::SessionSettings,
        organizations::CreateOrganizationRequest,
        organizations::UpdateOrganizationRequest,
        tools::ExecuteToolRequest,
        tools::Tool,
        users::CreateUserAndMembershipRequest,
        users::User,
    )
}

#[test]
fn what_the_check_lets_through_the_generated_types_read() {
    let (mut good, mut refused, mut types) = (0, 0, 0);
    for message in messages() {
        if prost_reads(message.name, &[]).is_none() {
            continue;
        }
        types += 1;
        for seed in 0..2_000 {
            let mut choices = Choices::new(seed);
            let mut wire = make(message, &mut choices, 5);
            // Two of three are damaged in two or three places.
            for _ in 0..seed % 3 + u64::from(seed % 3 > 0) {
                if !wire.is_empty() {
                    let at = choices.below(wire.len() as u64) as usize;
                    wire[at] = choices.next() as u8;
                }
            }
            if wire::check(message, &wire).is_ok() {
                good += 1;
                assert_eq!(prost_reads(message.name, &wire), Some(true), "{} {wire:?}", message.name);
            } else {
                refused += 1;
            }
        }
    }
    assert!(types >= 12 && good > 8_000 && refused > 2_000, "{types} {good} {refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn json_round_trips(index in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let all = messages();
        let message = all[index.index(all.len())];
        let wire = make(message, &mut Choices::new(seed), 5);
        let first = json::encode(message, &wire, Emit::Defaults).unwrap();
        let again = json::decode(message, &first).unwrap();
        wire::check(message, &again).unwrap();
        prop_assert_eq!(&json::encode(message, &again, Emit::Defaults).unwrap(), &first);
        // What is not printed was empty: the short form reads back to the same.
        let short = json::encode(message, &wire, Emit::Set).unwrap();
        let again = json::decode(message, &short).unwrap();
        prop_assert_eq!(&json::encode(message, &again, Emit::Defaults).unwrap(), &first);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_never_worse(
        index in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let all = messages();
        let message = all[index.index(all.len())];
        let checked = wire::check(message, &bytes);
        drop(validator().check(message, &bytes));
        drop(json::encode(message, &bytes, Emit::Defaults));
        if checked.is_ok() {
            // What the check lets through, prost takes.
            let descriptor = reflect(pool(), message);
            prop_assert!(DynamicMessage::decode(descriptor, &bytes[..]).is_ok());
        }
    }

    #[test]
    fn damaged_messages_are_refused_or_read_never_worse(
        index in any::<prop::sample::Index>(),
        seed in any::<u64>(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let all = messages();
        let message = all[index.index(all.len())];
        let mut wire = make(message, &mut Choices::new(seed), 4);
        if wire.is_empty() {
            return Ok(());
        }
        let at = at.index(wire.len());
        wire[at] = with;
        if wire::check(message, &wire).is_ok() {
            let descriptor = reflect(pool(), message);
            prop_assert!(DynamicMessage::decode(descriptor, &wire[..]).is_ok());
            // And REST can show it.
            let printed = json::encode(message, &wire, Emit::Defaults);
            prop_assert!(printed.is_ok(), "{} {printed:?} {wire:?}", message.name);
        }
    }

    #[test]
    fn arbitrary_text_is_refused_or_read_never_worse(
        index in any::<prop::sample::Index>(),
        text in "[\\[\\]{}\":,a-z0-9\\\\ .eE+\\-ntfu]{0,80}",
    ) {
        let all = messages();
        let message = all[index.index(all.len())];
        if let Ok(wire) = json::decode(message, text.as_bytes()) {
            prop_assert!(wire::check(message, &wire).is_ok());
        }
    }

    #[test]
    fn damaged_json_is_refused_or_read_never_worse(
        index in any::<prop::sample::Index>(),
        seed in any::<u64>(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let all = messages();
        let message = all[index.index(all.len())];
        let wire = make(message, &mut Choices::new(seed), 4);
        let mut text = json::encode(message, &wire, Emit::Defaults).unwrap();
        let at = at.index(text.len());
        text[at] = with;
        let decoded = json::decode(message, &text);
        if let Ok(wire) = &decoded {
            wire::check(message, wire).unwrap();
        }
        // A text that is no JSON at all is never taken for a message. (Two equal keys are JSON, but not to us.)
        if serde_json::from_slice::<serde_json::Value>(&text).is_err() {
            prop_assert!(decoded.is_err());
        }
    }
}
