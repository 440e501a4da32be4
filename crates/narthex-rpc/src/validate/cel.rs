//! The CEL rules of the contract, by hand. They are few; each is found by its text, and an unknown one refuses the start.

use narthex_api::contract::{Cardinality, Message};

use super::text::is_email;
use crate::wire::Slot;

/// A message as CEL sees it in `this`.
pub(super) struct View<'v, 'a> {
    pub message: &'static Message,
    /// One per field, in the order of the table.
    pub slots: &'v [Slot<'a>],
}

impl<'a> View<'_, 'a> {
    fn slot(&self, name: &str) -> Option<(&'static narthex_api::contract::Field, &Slot<'a>)> {
        self.message.fields.iter().zip(self.slots).find(|(field, _)| field.name == name)
    }

    /// `has(this.name)`: set, or for a field without presence not zero.
    fn has(&self, name: &str) -> bool {
        self.slot(name).is_some_and(|(field, slot)| {
            slot.count > 0 && (field.cardinality != Cardinality::Implicit || !slot.raw.is_zero())
        })
    }

    fn text(&self, name: &str) -> &'a str {
        self.slot(name).filter(|(_, slot)| slot.count > 0).map_or("", |(_, slot)| slot.raw.text())
    }

    fn number(&self, name: &str) -> i128 {
        self.slot(name).filter(|(_, slot)| slot.count > 0).map_or(0, |(field, slot)| slot.raw.integer(field.kind))
    }
}

/// The rule over a message with this text.
pub(super) fn of_message(expression: &str) -> Option<fn(&View<'_, '_>) -> bool> {
    Some(match expression {
        "has(this.subject) || has(this.html_content) || has(this.plain_content)" => {
            |this| this.has("subject") || this.has("html_content") || this.has("plain_content")
        }
        "this.login_failed || (this.sub != '' && this.email != '')" => {
            |this| this.number("login_failed") != 0 || !this.text("sub").is_empty() && !this.text("email").is_empty()
        }
        "!(has(this.connector) && this.connection_names.size() > 0)" => {
            |this| !(this.has("connector") && this.has("connection_names"))
        }
        "this.product_id != '' || this.product_name != ''" => {
            |this| !this.text("product_id").is_empty() || !this.text("product_name").is_empty()
        }
        "(this.mcp_config_id != '') != (this.key_id != '')" => {
            |this| this.text("mcp_config_id").is_empty() != this.text("key_id").is_empty()
        }
        "!(this.type in [4,5,9])" => |this| !matches!(this.number("type"), 4 | 5 | 9),
        "has(this.provider_key) || this.provider != 0" => {
            |this| this.has("provider_key") || this.number("provider") != 0
        }
        "this.provider == 15 ? this.provider_key in ['SCALEKIT'] : true" => {
            |this| this.number("provider") != 15 || this.text("provider_key") == "SCALEKIT"
        }
        "this.type == 9 ? this.key_id == 'WEBAUTHN' : true" => {
            |this| this.number("type") != 9 || this.text("key_id") == "WEBAUTHN"
        }
        _ => return None,
    })
}

/// The rule over a string with this text.
pub(super) fn of_string(expression: &str) -> Option<fn(&str) -> bool> {
    Some(match expression {
        "this.isEmail()" => is_email,
        "this.matches('^[a-zA-Z0-9_:]+$')" => |this| {
            !this.is_empty() && this.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
        },
        _ => return None,
    })
}
