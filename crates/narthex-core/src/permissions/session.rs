//! The permissions that come with an environment, in the spelling of the RPCs that sessions may call (control plane reference §2.4).

/// Permission of an application's roles, and the session keys that it stands for: to manage is to read as well.
const KEYS: [(&str, &[&str]); 12] = [
    ("sk_org_settings_read", &["organizations_read"]),
    ("sk_org_settings_manage", &["organizations_read", "organizations_write"]),
    ("sk_org_users_read", &["organizations_users_read"]),
    ("sk_org_users_invite", &["organizations_users_invite"]),
    ("sk_org_users_delete", &["organizations_users_remove"]),
    ("sk_org_users_role_change", &["organizations_users_role_update"]),
    ("sk_org_sso_read", &["connections_read"]),
    ("sk_org_sso_manage", &["connections_read", "connections_write"]),
    ("sk_org_scim_read", &["directories_read"]),
    ("sk_org_scim_manage", &["directories_read", "directories_write"]),
    ("sk_org_session_policy_read", &["organizations_sessions_read"]),
    ("sk_org_session_policy_manage", &["organizations_sessions_read", "organizations_sessions_write"]),
];

/// The session keys that these permissions stand for, each once, in order. An application's own permission stands for none, whatever
/// its name.
pub fn session_keys(permissions: &[String]) -> Vec<String> {
    let mut keys: Vec<String> = permissions
        .iter()
        .filter_map(|held| KEYS.iter().find(|(name, _)| name == held))
        .flat_map(|(_, keys)| keys.iter().map(|&key| key.to_owned()))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(permissions: &[&str]) -> Vec<String> {
        session_keys(&permissions.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn ctl_05_to_manage_is_to_read_as_well() {
        assert_eq!(keys(&["sk_org_sso_manage"]), ["connections_read", "connections_write"]);
        assert_eq!(keys(&["sk_org_sso_read", "sk_org_sso_manage"]), ["connections_read", "connections_write"]);
        for (name, own) in KEYS.iter().filter(|(name, _)| name.ends_with("_manage")) {
            let read = name.replace("_manage", "_read");
            assert!(keys(&[&read]).iter().all(|key| own.contains(&key.as_str())), "{name}");
        }
        assert_eq!(keys(&["sk_org_users_invite"]), ["organizations_users_invite"], "and to invite is not");
    }

    #[test]
    fn ctl_05_an_applications_own_permission_is_no_session_key() {
        assert!(keys(&["connections_write", "sso:write", "sk_org_unknown"]).is_empty());
    }
}
