//! Addresses that a client's credentials count from (control plane reference §5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{Client, get};
use crate::core::Core;
use crate::error::{Error, Kind, Result, Violation};
use crate::ids::EnvId;
use crate::tokens::{OAuthCode, TokenError};

/// Networks of one list.
const MOST: usize = 100;

/// The family that an entry says it is of (`scalekit.v1.clients.CidrType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the wire's names
pub enum Family {
    Ipv4 = 1,
    Ipv6 = 2,
}

/// A network as it was written, e.g. `203.0.113.0/24`; an address alone is a network of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cidr {
    /// The text.
    pub value: String,
    /// Its family.
    pub family: Family,
}

/// The list and whether it counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpAllowlist {
    /// Whether addresses outside of it are refused.
    pub opted_in: bool,
    /// Networks.
    pub cidrs: Vec<Cidr>,
}

impl IpAllowlist {
    /// What is wrong with it, naming fields below `field`.
    pub fn violations(&self, field: &str) -> Vec<Violation> {
        let mut broken = Vec::new();
        if self.opted_in && self.cidrs.is_empty() {
            broken.push(Violation::new(
                format!("{field}.cidrs"),
                "ip_allowlist.empty",
                "must not be empty when opted in",
            ));
        }
        if self.cidrs.len() > MOST {
            let text = format!("must have at most {MOST} items");
            broken.push(Violation::new(format!("{field}.cidrs"), "repeated.max_items", text));
        }
        for (i, cidr) in self.cidrs.iter().enumerate().take(MOST) {
            let family = Network::parse(&cidr.value).map(Network::family);
            if family != Some(cidr.family) {
                let text = "must be a network of its type, such as 203.0.113.0/24, without bits behind its prefix";
                broken.push(Violation::new(format!("{field}.cidrs[{i}].value"), "ip_allowlist.cidr", text));
            }
        }
        broken
    }

    /// Whether requests from `address` are let in. An IPv4 address inside IPv6 is that IPv4 address.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !self.opted_in
            || self.cidrs.iter().filter_map(|cidr| Network::parse(&cidr.value)).any(|network| network.holds(address))
    }
}

/// The family of what a caller wrote without saying it.
pub fn family_of(value: &str) -> Option<Family> {
    Network::parse(value).map(Network::family)
}

#[derive(Debug, Clone, Copy)]
enum Network {
    V4(u32, u8),
    V6(u128, u8),
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let prefix = |longest: u8| match prefix {
            None => Some(longest),
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= longest)
            }
            Some(_) => None,
        };
        // Bits behind the prefix say that somebody meant another network than this one.
        if let Ok(address) = address.parse::<Ipv4Addr>() {
            let (bits, prefix) = (u32::from(address), prefix(32)?);
            return (bits & !mask4(prefix) == 0).then_some(Self::V4(bits, prefix));
        }
        let (bits, prefix) = (u128::from(address.parse::<Ipv6Addr>().ok()?), prefix(128)?);
        (bits & !mask6(prefix) == 0).then_some(Self::V6(bits, prefix))
    }

    fn family(self) -> Family {
        match self {
            Self::V4(..) => Family::Ipv4,
            Self::V6(..) => Family::Ipv6,
        }
    }

    fn holds(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(bits, prefix), IpAddr::V4(address)) => u32::from(address) & mask4(prefix) == bits,
            (Self::V6(bits, prefix), IpAddr::V6(address)) => u128::from(address) & mask6(prefix) == bits,
            _ => false,
        }
    }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// Refuses a client of a token endpoint that may not be used from `address`. Asked after its secret: who does not know it learns nothing
/// about addresses.
pub(crate) fn admit(client: &Client, address: Option<IpAddr>) -> Result<(), TokenError> {
    match (&client.ip_allowlist, address) {
        (Some(list), Some(address)) if !list.admits(address) => {
            Err(TokenError::new(OAuthCode::AddressNotAllowed, "the client may not be used from this address"))
        }
        _ => Ok(()),
    }
}

/// Whether a client may call the API from `address`: PERMISSION_DENIED if its list says no.
pub async fn check_address(core: &Core, environment: EnvId, client_id: &str, address: IpAddr) -> Result<()> {
    match get(core, environment, client_id).await? {
        Some(client) if client.ip_allowlist.as_ref().is_some_and(|list| !list.admits(address)) => {
            Err(Error::new(Kind::PermissionDenied, "the client may not be used from this address"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> IpAllowlist {
        let cidr = |value: &&str| Cidr { value: (*value).to_owned(), family: family_of(value).unwrap_or(Family::Ipv4) };
        IpAllowlist { opted_in: true, cidrs: values.iter().map(cidr).collect() }
    }

    #[test]
    fn ctl_14_addresses_are_matched_by_prefix_within_their_family() {
        let list = list(&["203.0.113.0/24", "198.51.100.7", "2001:db8::/32", "::1"]);
        assert!(list.violations("x").is_empty());
        for good in ["203.0.113.255", "198.51.100.7", "2001:db8:ffff::1", "::1", "::ffff:203.0.113.9"] {
            assert!(list.admits(good.parse().unwrap()), "{good}");
        }
        for bad in ["203.0.114.0", "198.51.100.8", "2001:db9::1", "::2", "127.0.0.1"] {
            assert!(!list.admits(bad.parse().unwrap()), "{bad}");
        }
        let everybody = IpAllowlist { opted_in: false, ..list };
        assert!(everybody.admits("192.0.2.1".parse().unwrap()), "not opted in");
        assert!(self::list(&["0.0.0.0/0"]).admits("192.0.2.1".parse().unwrap()));
        assert!(!self::list(&["0.0.0.0/0"]).admits("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn ctl_14_malformed_networks_and_empty_lists_are_refused() {
        assert_eq!(list(&[]).violations("a")[0].field, "a.cidrs");
        for bad in [
            "",
            "x",
            "203.0.113.1/24",
            "203.0.113.0/33",
            "203.0.113.0/",
            "203.0.113.0/+8",
            "2001:db8::/129",
            "01.2.3.4",
            "1.2.3/8",
        ] {
            assert_eq!(list(&[bad]).violations("a")[0].field, "a.cidrs[0].value", "{bad}");
        }
        let wrong =
            IpAllowlist { opted_in: true, cidrs: vec![Cidr { value: "10.0.0.0/8".into(), family: Family::Ipv6 }] };
        assert_eq!(wrong.violations("a").len(), 1);
        assert_eq!(list(&["10.0.0.0/8"; 101]).violations("a")[0].constraint, "repeated.max_items");
    }
}
