//! What every new environment has (control plane reference §4.2): keys, roles and permissions, a default client, ways to sign in, and in
//! DEV an organization to try things with.

use std::sync::Arc;

use narthex_db::{Tx, p};

use crate::clients::{self, Client, ClientKind, NewClient, NewSecret};
use crate::clock::Timestamp;
use crate::connections;
use crate::core::Core;
use crate::environments::{self, EnvironmentKind, NewEnvironment};
use crate::error::Result;
use crate::events::Actor;
use crate::ids::{ConnectionId, PermissionId, RoleId};
use crate::keys::{self, NewSigningKey};
use crate::organizations::{self, Creation, NewOrganization};
use crate::seal::{NewDataKey, Secret};

/// The permissions that every environment has, with the roles that hold them from the start (control plane reference §2.4).
const PERMISSIONS: [(&str, &str, bool); 12] = [
    ("sk_org_settings_read", "View the organization's settings", true),
    ("sk_org_settings_manage", "View and change the organization's settings", false),
    ("sk_org_users_read", "View the organization's users", true),
    ("sk_org_users_invite", "Invite users to the organization", false),
    ("sk_org_users_delete", "Remove users from the organization", false),
    ("sk_org_users_role_change", "Change the roles of the organization's users", false),
    ("sk_org_sso_read", "View the organization's single sign-on", false),
    ("sk_org_sso_manage", "View and change the organization's single sign-on", false),
    ("sk_org_scim_read", "View the organization's directories", false),
    ("sk_org_scim_manage", "View and change the organization's directories", false),
    ("sk_org_session_policy_read", "View the organization's session policy", false),
    ("sk_org_session_policy_manage", "View and change the organization's session policy", false),
];

/// Where the logins and logouts of a development environment may lead before anyone registers an address.
const LOCAL_ADDRESSES: [&str; 2] = ["http://localhost:*/*", "http://127.0.0.1:*/*"];

/// The organization that every DEV environment has from the start.
const TEST_ORGANIZATION: &str = "Test Organization";

/// The default client of a new environment. What is not given is made.
#[derive(Default)]
pub struct SeedClient {
    /// OAuth client id.
    pub client_id: Option<String>,
    /// Secret.
    pub secret: Option<Secret<String>>,
}

/// Everything of a new environment, made outside of the transaction that inserts it: keys take time.
pub struct EnvironmentSeed {
    environment: NewEnvironment,
    data_key: NewDataKey,
    signing_key: NewSigningKey,
    client: Client,
    secret: NewSecret,
    roles: [RoleId; 2],
    permissions: Vec<PermissionId>,
    connections: [ConnectionId; 2],
    test_organization: Option<Arc<Creation>>,
    now: Timestamp,
}

impl EnvironmentSeed {
    /// Makes keys, ids and a secret.
    pub async fn prepare(core: &Core, environment: NewEnvironment, client: SeedClient) -> Result<Self> {
        let now = core.clock.now();
        let data_key = NewDataKey::generate(core, environment.id)?;
        let signing_key = keys::generate(core, environment.id, &data_key.key).await?;
        let is_dev = environment.kind == EnvironmentKind::Dev && !environment.is_system;
        let local: Vec<String> = LOCAL_ADDRESSES.iter().filter(|_| is_dev).map(|&uri| uri.to_owned()).collect();
        let new = NewClient {
            client_id: client.client_id,
            is_default: true,
            post_login_uris: local.clone(),
            post_logout_redirect_uris: local,
            ..NewClient::new(ClientKind::Env, "Default Client")
        }
        .build(&core.ids, environment.id, environment.kind, now)?;
        let secret = match client.secret {
            Some(given) => NewSecret::given(&core.ids, given, "seed", now),
            None => NewSecret::generate(&core.ids, &core.random, environment.kind, "seed", now),
        };
        let permissions = PERMISSIONS.iter().map(|_| PermissionId::new(&core.ids)).collect();
        let roles = [RoleId::new(&core.ids), RoleId::new(&core.ids)];
        let connections = [ConnectionId::new(&core.ids), ConnectionId::new(&core.ids)];
        let test_organization = if is_dev {
            let organization = NewOrganization::named(TEST_ORGANIZATION);
            Some(Arc::new(organizations::prepare(core, environment.id, &Actor::SYSTEM, organization, None)?))
        } else {
            None
        };
        Ok(Self {
            environment,
            data_key,
            signing_key,
            client: new,
            secret,
            roles,
            permissions,
            connections,
            test_organization,
            now,
        })
    }

    /// The default client, for what a seed file says of it beyond its id and secret.
    pub(super) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// OAuth id of the default client.
    pub fn client_id(&self) -> &str {
        &self.client.client_id
    }

    /// Its secret: this is the only chance to see it.
    pub fn secret(&self) -> &Secret<String> {
        &self.secret.plain
    }

    /// The part that a transaction closure owns; it carries no secret in the clear.
    pub(crate) fn rows(&self) -> EnvironmentRows {
        EnvironmentRows {
            environment: self.environment.clone(),
            data_key: self.data_key.row(),
            signing_key: self.signing_key.clone(),
            client: self.client.clone(),
            secret: self.secret.record.clone(),
            roles: self.roles,
            permissions: self.permissions.clone(),
            connections: self.connections,
            test_organization: self.test_organization.clone(),
            now: self.now,
        }
    }
}

/// The rows of a new environment.
#[derive(Clone)]
pub(crate) struct EnvironmentRows {
    environment: NewEnvironment,
    data_key: crate::seal::DataKeyRow,
    signing_key: NewSigningKey,
    client: Client,
    secret: clients::StoredSecret,
    roles: [RoleId; 2],
    permissions: Vec<PermissionId>,
    connections: [ConnectionId; 2],
    test_organization: Option<Arc<Creation>>,
    now: Timestamp,
}

impl EnvironmentRows {
    /// Inserts them; the workspace must exist.
    pub(crate) async fn insert(&self, tx: &mut Tx) -> Result<()> {
        environments::insert(tx, &self.environment, self.now).await?;
        self.data_key.insert(tx, self.now).await?;
        keys::insert_current(tx, &self.signing_key, self.now).await?;
        clients::insert(tx, &self.client).await?;
        clients::insert_secret(tx, &self.client, &self.secret).await?;
        self.insert_roles(tx).await?;
        connections::insert_first(tx, self.environment.id, self.connections, self.now).await?;
        if let Some(organization) = &self.test_organization {
            organization.write(tx).await?;
        }
        Ok(())
    }

    async fn insert_roles(&self, tx: &mut Tx) -> Result<()> {
        let [admin, member] = self.roles;
        for (id, name, display_name, creator) in [(admin, "admin", "Admin", true), (member, "member", "Member", false)]
        {
            tx.execute(
                "INSERT INTO roles (id, environment_id, organization_id, name, display_name, description, default_creator, \
                 default_member, created_at, updated_at) VALUES ($1, $2, NULL, $3, $4, '', $5, $6, $7, $7)",
                &p![id, self.environment.id, name, display_name, creator, !creator, self.now],
            )
            .await?;
        }
        for ((name, description, for_members), id) in PERMISSIONS.iter().zip(&self.permissions) {
            tx.execute(
                "INSERT INTO permissions (id, environment_id, name, description, built_in, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, 1, $5, $5)",
                &p![id, self.environment.id, name, description, self.now],
            )
            .await?;
            let sql = "INSERT INTO role_permissions (role_id, permission_id) VALUES ($1, $2)";
            tx.execute(sql, &p![admin, id]).await?;
            if *for_members {
                tx.execute(sql, &p![member, id]).await?;
            }
        }
        Ok(())
    }
}
