//! What the browser says of the page that asked (`clientDataJSON`, §5.8.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::{Flaw, Part, Party};

/// Longest text that is read: a challenge, an origin and some words.
const LONGEST: usize = 8_192;

/// What an authenticator was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceremony {
    /// To make a credential.
    Registration,
    /// To prove that it has one.
    Authentication,
}

impl Ceremony {
    const fn name(self) -> &'static str {
        match self {
            Self::Registration => "webauthn.create",
            Self::Authentication => "webauthn.get",
        }
    }
}

/// The client data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientData {
    /// What was asked.
    pub challenge: Vec<u8>,
    kind: String,
    origin: String,
    is_framed: bool,
}

/// As it stands in the text. A name that comes twice is an error of serde's.
#[derive(Deserialize)]
struct Text {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: bool,
    #[serde(rename = "topOrigin")]
    top_origin: Option<String>,
}

impl ClientData {
    /// Reads it; nothing is checked yet.
    pub fn read(json: &[u8]) -> Result<Self, Flaw> {
        let malformed = || Part::ClientData.flaw("is no client data");
        if json.len() > LONGEST {
            return Err(malformed());
        }
        let text: Text = serde_json::from_slice(json).map_err(|_| malformed())?;
        Ok(Self {
            challenge: URL_SAFE_NO_PAD.decode(&text.challenge).map_err(|_| malformed())?,
            kind: text.kind,
            origin: text.origin,
            is_framed: text.cross_origin || text.top_origin.is_some(),
        })
    }

    /// Whether a page of the relying party's own has asked for this ceremony, in no other site's frame.
    pub fn check(&self, ceremony: Ceremony, party: &Party<'_>) -> Result<(), Flaw> {
        if self.kind != ceremony.name() {
            return Err(Part::ClientData.flaw("is of another ceremony"));
        }
        if !party.origins.contains(&self.origin) {
            return Err(Part::ClientData.flaw("comes from an origin that is none of the environment's"));
        }
        // A page that frames ours could make people click.
        if self.is_framed {
            return Err(Part::ClientData.flaw("comes from a frame in another site's page"));
        }
        Ok(())
    }
}
