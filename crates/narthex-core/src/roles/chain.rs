//! A role and its bases, and the permissions that it has through them.

use std::collections::{HashMap, HashSet};

use narthex_db::{Tx, p};

use crate::error::Result;
use crate::ids::{EnvId, RoleId};
use crate::permissions::Permission;

/// The bases of a role. UNION rather than UNION ALL: a row appears once, so even a closed chain, which nothing writes, would end.
macro_rules! chain {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE chain (id, extends_role_id) AS (\
             SELECT id, extends_role_id FROM roles WHERE environment_id = $1 AND id = $2 \
             UNION SELECT r.id, r.extends_role_id FROM roles r JOIN chain c ON r.id = c.extends_role_id) ",
            $rest
        )
    };
}

/// One role of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Id.
    pub id: RoleId,
    /// Name.
    pub name: String,
}

/// The role, its base, the base of that, and so on.
pub(super) async fn links(tx: &mut Tx, environment: EnvId, role: RoleId) -> Result<Vec<Link>> {
    let sql = chain!("SELECT r.id, r.extends_role_id, r.name FROM chain c JOIN roles r ON r.id = c.id");
    let rows: Vec<(RoleId, Option<RoleId>, String)> = tx.all(sql, &p![environment, role]).await?;
    let mut rows: HashMap<RoleId, (Option<RoleId>, String)> =
        rows.into_iter().map(|(id, base, name)| (id, (base, name))).collect();
    let mut links = Vec::with_capacity(rows.len());
    let mut next = Some(role);
    // A row is taken out when it is reached, so each is reached once.
    while let Some((id, (base, name))) = next.and_then(|id| Some((id, rows.remove(&id)?))) {
        links.push(Link { id, name });
        next = base;
    }
    Ok(links)
}

/// A permission and the role that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The permission.
    pub permission: Permission,
    /// Name of the role that has it of its own.
    pub role: String,
}

/// What a role may do, its own permissions first; one that comes several ways is named once, with the nearest role.
pub(super) async fn effective(tx: &mut Tx, environment: EnvId, role: RoleId) -> Result<Vec<Held>> {
    let links = links(tx, environment, role).await?;
    let sql = chain!(
        "SELECT p.id, p.environment_id, p.name, p.description, p.built_in, p.created_at, p.updated_at, c.id FROM chain c \
         JOIN role_permissions g ON g.role_id = c.id JOIN permissions p ON p.id = g.permission_id ORDER BY p.id"
    );
    let granted: Vec<Granted> = tx.all(sql, &p![environment, role]).await?;
    Ok(held(links.iter().map(|link| (link.id, link.name.as_str())), &by_role(&granted)))
}

/// The permissions of each role, in the order read.
pub(super) fn by_role(granted: &[Granted]) -> HashMap<RoleId, Vec<&Permission>> {
    let mut map: HashMap<RoleId, Vec<&Permission>> = HashMap::new();
    for Granted(permission, role) in granted {
        map.entry(*role).or_default().push(permission);
    }
    map
}

/// The permissions of the roles of a chain, nearest role first, each once.
pub(super) fn held<'a>(
    chain: impl Iterator<Item = (RoleId, &'a str)>,
    by_role: &HashMap<RoleId, Vec<&Permission>>,
) -> Vec<Held> {
    let mut seen = HashSet::new();
    let mut held = Vec::new();
    for (id, name) in chain {
        for &permission in by_role.get(&id).into_iter().flatten() {
            if seen.insert(permission.id) {
                held.push(Held { permission: permission.clone(), role: name.to_owned() });
            }
        }
    }
    held
}

/// A permission with the id of a role that has it, as read.
pub(super) struct Granted(pub Permission, pub RoleId);

impl narthex_db::FromRow for Granted {
    fn from_row(row: &narthex_db::Row<'_>) -> Result<Self, narthex_db::DbError> {
        Ok(Self(Permission::from_row(row)?, row.get(7)?))
    }
}
