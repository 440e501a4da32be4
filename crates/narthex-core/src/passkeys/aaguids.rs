//! Models of authenticators by what they call themselves. The number is a claim of the authenticator's; the name is for people who look
//! for the right row in a list, and nothing is decided by it.

/// The makers' names, in the order of the numbers.
const NAMES: [(u128, &str); 35] = [
    (0x08987058_cadc_4b81_b6e1_30de50dcbe96, "Windows Hello"),
    (0x0ea242b4_43c4_4a1b_8b17_dd6d0b6baec6, "Keeper"),
    (0x149a2021_8ef6_4133_96b8_81f8d5b7f1f5, "Security Key by Yubico with NFC"),
    (0x17290f1e_c212_34d0_1423_365d729f09d9, "Thales PIN iOS SDK"),
    (0x2fc0579f_8113_47ea_b116_bb5a8db9202a, "YubiKey 5 Series with NFC"),
    (0x42b4fb4a_2866_43b2_9bf7_6c6669c2e5d3, "Google Titan Security Key v2"),
    (0x50726f74_6f6e_5061_7373_50726f746f6e, "Proton Pass"),
    (0x531126d6_e717_415c_9320_3d9aa6981239, "Dashlane"),
    (0x53414d53_554e_4700_0000_000000000000, "Samsung Pass"),
    (0x6028b017_b1d4_4c02_b4b3_afcdafc96bb2, "Windows Hello"),
    (0x66a0ccb3_bd6a_191f_ee06_e375c50b9846, "Thales Bio iOS SDK"),
    (0x6d44ba9b_f6ec_2e49_b930_0c8fe920cb73, "Security Key by Yubico with NFC"),
    (0x73bb0cd4_e502_49b8_9c6f_b59445bf720b, "YubiKey 5 FIPS Series"),
    (0x771b48fd_d3d4_4f74_9232_fc157ab0507a, "Edge on Mac"),
    (0x8836336a_f590_0921_301d_46427531eee6, "Thales Bio Android SDK"),
    (0x891494da_2c90_4d31_a9cd_4eab0aed1309, "Sésame"),
    (0x9ddd1817_af5a_4672_a2b9_3e3dd95000a9, "Windows Hello"),
    (0xadce0002_35bc_c60a_648b_0b25f1f05503, "Chrome on Mac"),
    (0xb5397666_4885_aa6b_cebf_e52262a439a2, "Chromium Browser"),
    (0xb78a0a55_6ef8_d246_a042_ba0f6d55050c, "LastPass"),
    (0xb84e4048_15dc_4dd0_8640_f4f60813c8af, "NordPass"),
    (0xb93fd961_f2e6_462f_b122_82002247de78, "Android"),
    (0xbada5566_a7aa_401f_bd96_45619a55120d, "1Password"),
    (0xc1f9a0bc_1dd2_404a_b27f_8e29047a43fd, "YubiKey 5 FIPS Series with NFC"),
    (0xc5ef55ff_ad9a_4b9f_b580_adebafe026d0, "YubiKey 5 Series with Lightning"),
    (0xcb69481e_8ff7_4039_93ec_0a2729a154a8, "YubiKey 5 Series"),
    (0xcd69adb5_3c7a_deb9_3177_6800ea6cb72a, "Thales PIN Android SDK"),
    (0xd548826e_79b4_db40_a3d8_11116f7e8349, "Bitwarden"),
    (0xd8522d9f_575b_4866_88a9_ba99fa02f35b, "YubiKey Bio Series"),
    (0xdd4ec289_e01d_41c9_bb89_70fa845d4bf2, "iCloud Keychain (managed)"),
    (0xea9b8d66_4d01_1d21_3ce4_b6b48cb575d4, "Google Password Manager"),
    (0xee882879_721c_4913_9775_3dfcce97072a, "YubiKey 5 Series"),
    (0xf3809540_7f14_49c1_a8b3_8f813b225541, "Enpass"),
    (0xfa2b99dc_9e39_4257_8f92_4a30d23c4118, "YubiKey 5 Series with NFC"),
    (0xfbfc3007_154e_4ecc_8c0b_6e020557d7bd, "iCloud Keychain"),
];

/// Name of a model, empty if it is not known.
pub(super) fn name(aaguid: &[u8; 16]) -> &'static str {
    let number = u128::from_be_bytes(*aaguid);
    NAMES.binary_search_by_key(&number, |(known, _)| *known).map_or("", |at| NAMES[at].1)
}

/// The number as it is usually written.
pub(super) fn text(aaguid: &[u8; 16]) -> String {
    let number = u128::from_be_bytes(*aaguid);
    let part = |bits: u32| number >> bits & 0xffff;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        number >> 96,
        part(80),
        part(64),
        part(48),
        number & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wan_10_a_model_has_its_maker_s_name() {
        assert!(NAMES.is_sorted_by(|(one, _), (next, _)| one < next), "looked up by halves");
        let google = 0xea9b_8d66_4d01_1d21_3ce4_b6b4_8cb5_75d4_u128.to_be_bytes();
        assert_eq!(
            (name(&google), text(&google).as_str()),
            ("Google Password Manager", "ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4")
        );
        assert_eq!((name(&[0; 16]), name(&[0xff; 16])), ("", ""));
    }
}
