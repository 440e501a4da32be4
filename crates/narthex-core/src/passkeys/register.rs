//! How a passkey is made: a signed-in user's browser asks for a challenge, and brings back what an authenticator made of it.

use narthex_db::{DbError, p};
use serde_json::{Value, json};

use super::challenge::{self, Purpose};
use super::webauthn::{self, ALGORITHMS, ClientData};
use super::{Passkey, base64url, flawed, settings, stale, store, user_handle};
use crate::branding;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::ids::{CredentialId, SessionId, UserId};
use crate::organizations::share;
use crate::sessions::Device;
use crate::users::{self, Identity};

/// Most passkeys of a user.
pub const MOST: usize = 50;

/// Ways to reach an authenticator that are kept (WebAuthn §5.8.4).
const TRANSPORTS: [&str; 6] = ["usb", "nfc", "ble", "smart-card", "hybrid", "internal"];

/// What a browser brings back of a new passkey.
#[derive(Debug, Clone, Default)]
pub struct NewPasskey {
    /// The authenticator's id of it.
    pub credential_id: Vec<u8>,
    /// `attestationObject`.
    pub attestation_object: Vec<u8>,
    /// `clientDataJSON`.
    pub client_data_json: Vec<u8>,
    /// `type`.
    pub kind: String,
    /// `getTransports()`.
    pub transports: Vec<String>,
    /// `authenticatorAttachment`.
    pub attachment: String,
    /// The browser.
    pub device: Device,
}

/// Options for `navigator.credentials.create`, in WebAuthn's JSON form.
pub async fn begin_registration(
    core: &Core,
    environment: &Environment,
    user: UserId,
    session: SessionId,
) -> Result<Value> {
    let settings = settings::enabled(core, environment).await?;
    if settings.needs_metadata {
        return Err(no_metadata());
    }
    let id = environment.id;
    let (user, known) = core
        .db
        .read(async move |tx| {
            let user = users::load(tx, id, &Identity::Id(user)).await?.ok_or_else(users::not_found)?;
            let known = store::of_user(tx, id, user.id).await?;
            Ok::<_, Error>((user, known))
        })
        .await?;
    if known.len() >= MOST {
        return Err(too_many());
    }
    let challenge = challenge::make(core, id, Purpose::Registration(session), &settings, None).await?;
    let look = branding::look(core, environment, None).await?;
    let name = if user.profile.name.is_empty() { &user.email } else { &user.profile.name };
    let mut selection = json!({
        "residentKey": "required",
        "requireResidentKey": true,
        "userVerification": settings.user_verification,
    });
    if let Some(attachment) = settings.attachment {
        selection["authenticatorAttachment"] = json!(attachment);
    }
    let exclude: Vec<Value> = known
        .iter()
        .map(|passkey| {
            json!({"type": "public-key", "id": base64url(&passkey.credential_id), "transports": passkey.transports})
        })
        .collect();
    let algorithms: Vec<Value> = ALGORITHMS.iter().map(|alg| json!({"type": "public-key", "alg": alg})).collect();
    Ok(json!({
        "rp": {"id": settings.rp_ids.first(), "name": look.app_name().unwrap_or(&environment.display_name)},
        "user": {"id": base64url(user_handle(user.id).as_bytes()), "name": user.email, "displayName": name},
        "challenge": base64url(&challenge),
        "pubKeyCredParams": algorithms,
        "timeout": u64::try_from(settings.registration.as_millis()).unwrap_or(u64::MAX),
        "excludeCredentials": exclude,
        "authenticatorSelection": selection,
        "attestation": settings.conveyance,
    }))
}

/// Keeps what an authenticator has made for the challenge of this session.
pub async fn finish_registration(
    core: &Core,
    environment: &Environment,
    user: UserId,
    session: SessionId,
    new: NewPasskey,
) -> Result<Passkey> {
    let settings = settings::enabled(core, environment).await?;
    if settings.needs_metadata {
        return Err(no_metadata());
    }
    if !matches!(new.kind.as_str(), "" | "public-key") {
        return Err(Error::invalid("type", "string.in", "must be public-key"));
    }
    let client = ClientData::read(&new.client_data_json).map_err(|flaw| flawed(flaw, ""))?;
    let purpose = Purpose::Registration(session);
    let challenge = challenge::read(core, environment.id, purpose, client.challenge.clone()).await?;
    let party = settings.party();
    client.check(purpose.ceremony(), &party).map_err(|flaw| flawed(flaw, ""))?;
    let made = webauthn::register(
        &new.credential_id,
        &new.attestation_object,
        &new.client_data_json,
        &party,
        challenge.must_verify_user,
    )
    .map_err(|flaw| flawed(flaw, ""))?;
    let now = core.clock.now();
    let mut transports = new.transports;
    transports.retain(|transport| TRANSPORTS.contains(&transport.as_str()));
    transports.sort_unstable();
    transports.dedup();
    let passkey = Passkey {
        id: CredentialId::new(&core.ids),
        environment: environment.id,
        user,
        credential_id: made.credential_id,
        rp_id: made.rp_id,
        public_key: made.public_key,
        counter: made.counter,
        flags: made.flags,
        aaguid: made.aaguid,
        conveyance: settings.conveyance.to_owned(),
        transports,
        attachment: Some(new.attachment)
            .filter(|attachment| matches!(attachment.as_str(), "platform" | "cross-platform"))
            .unwrap_or_default(),
        display_name: None,
        device: new.device,
        created_at: now,
        updated_at: now,
        last_used_at: None,
    };
    let (id, environment, row) = (passkey.id, environment.id, passkey.clone());
    let inserted = core
        .db
        .write_checked(
            share(environment),
            async move |tx| Ok(tx.opt::<(i64,)>("SELECT id FROM passkeys WHERE id = $1", &p![id]).await?.is_some()),
            async move |tx| {
                if !challenge::answer(tx, &challenge).await? {
                    return Err(stale());
                }
                users::load(tx, environment, &Identity::Id(user)).await?.ok_or_else(users::not_found)?;
                if store::of_user(tx, environment, user).await?.len() >= MOST {
                    return Err(too_many());
                }
                store::insert(tx, &row).await
            },
        )
        .await;
    match inserted {
        Ok(()) => Ok(passkey),
        Err(error) if error.database().is_some_and(DbError::is_unique) => Err(Error::duplicate("credential_id")),
        Err(error) => Err(error),
    }
}

/// Unchecked ones would be worse than none.
fn no_metadata() -> Error {
    Error::new(
        Kind::FailedPrecondition,
        "authenticators cannot be checked against the metadata of their makers: switch these checks off",
    )
}

fn too_many() -> Error {
    Error::new(Kind::FailedPrecondition, format!("a user has at most {MOST} passkeys: delete one first"))
}
