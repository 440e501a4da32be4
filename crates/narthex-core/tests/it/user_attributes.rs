//! The registry of user attributes.

use narthex_core::ids::EnvId;
use narthex_core::schema::Schema;
use narthex_core::user_attributes::{self, Catalogue, Datatype, NewDefinition, UserAttribute};
use narthex_core::{Error, Kind, Result};

use crate::fixture::{Fixture, assert_invalid, assert_not_found};
use crate::roles::assert_refused;

use Catalogue::{Directory, SignOn};

fn text(label: &str) -> NewDefinition {
    NewDefinition { enabled: true, required: false, label: label.into(), datatype: Datatype::String, mappings: None }
}

/// What an attribute is, to be sent back.
fn same(attribute: &UserAttribute) -> NewDefinition {
    let definition = attribute.definition.clone();
    NewDefinition {
        enabled: definition.enabled,
        required: definition.required,
        label: definition.label,
        datatype: definition.datatype,
        mappings: Some((definition.saml_mapping, definition.oidc_mapping)),
    }
}

impl Fixture {
    async fn define(&self, catalogue: Catalogue, key: &str, new: NewDefinition) -> Result<UserAttribute, Error> {
        user_attributes::create(&self.core, self.env(), catalogue, key.into(), new, None).await
    }

    async fn redefine(&self, catalogue: Catalogue, key: &str, change: NewDefinition) -> Result<UserAttribute, Error> {
        user_attributes::update(&self.core, self.env(), catalogue, key.into(), change).await
    }

    async fn undefine(&self, catalogue: Catalogue, key: &str) -> Result<(), Error> {
        user_attributes::delete(&self.core, self.env(), catalogue, key.into()).await
    }

    async fn attributes(&self, catalogue: Catalogue) -> Vec<UserAttribute> {
        user_attributes::list(&self.core, self.env(), catalogue).await.expect("attributes")
    }

    async fn custom(&self, catalogue: Catalogue) -> Vec<String> {
        let custom = self.attributes(catalogue).await.into_iter().filter(|attribute| !attribute.is_standard);
        custom.map(|attribute| attribute.key).collect()
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn uat_01_attributes_are_defined_listed_changed_and_deleted(db: TestDb) {
        let f = Fixture::on(db).await;
        let standard = f.attributes(SignOn).await;
        let keys: Vec<&str> = standard.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "sub", "email", "given_name", "family_name", "email_verified", "phone_number", "phone_number_verified", "name",
                "preferred_username", "picture", "locale", "gender", "groups"
            ]
        );
        let enabled: Vec<bool> = standard.iter().map(|attribute| attribute.definition.enabled).collect();
        assert_eq!(enabled.iter().filter(|on| **on).count(), 4);
        assert!(enabled[..4].iter().all(|on| *on) && standard.iter().all(|attribute| attribute.is_standard));

        let made = f.define(SignOn, "department", text("Department")).await.unwrap();
        assert_eq!((made.definition.saml_mapping.as_str(), made.definition.oidc_mapping.as_str()), ("department", "department"));
        let mapped = NewDefinition { mappings: Some(("CostCenter".into(), "cc".into())), ..text("Cost centre") };
        f.define(SignOn, "cost_centre", mapped).await.unwrap();
        let listed = f.attributes(SignOn).await;
        assert_eq!(listed[..13], standard[..], "standard ones first");
        assert_eq!(listed[13], made);
        assert_eq!((listed[14].key.as_str(), listed[14].definition.saml_mapping.as_str()), ("cost_centre", "CostCenter"));
        assert!(!listed[13].is_standard);

        let change = NewDefinition { required: true, enabled: false, datatype: Datatype::Array, ..text("Team") };
        let changed = f.redefine(SignOn, "department", change.clone()).await.unwrap();
        assert_eq!((changed.definition.label.as_str(), changed.definition.datatype), ("Team", Datatype::Array));
        assert!(changed.definition.required && !changed.definition.enabled);
        assert_eq!(changed.definition.saml_mapping, "department", "absent mappings stay");
        assert_eq!(f.attributes(SignOn).await[13], changed);
        assert_not_found(f.redefine(SignOn, "Department", change.clone()).await);
        let elsewhere = user_attributes::update(&f.core, EnvId(1), SignOn, "department".into(), change).await;
        assert_not_found(elsewhere);
        let error = assert_invalid(f.define(SignOn, "department", text("Twin")).await, "key");
        assert_eq!(error.message(), "duplicate key not allowed: key already exists");

        assert_not_found(user_attributes::delete(&f.core, EnvId(1), SignOn, "department".into()).await);
        f.undefine(SignOn, "department").await.unwrap();
        assert_not_found(f.undefine(SignOn, "department").await);
        assert_eq!(f.custom(SignOn).await, ["cost_centre"]);
        f.define(SignOn, "department", text("Department")).await.expect("the key is free again");
        assert_eq!(f.events().await, [], "the catalogue of events has none for attributes");
    }

    async fn uat_01_standard_attributes_are_switched_but_stay(db: TestDb) {
        let f = Fixture::on(db).await;
        let of = async |key: &str| f.attributes(SignOn).await.into_iter().find(|attribute| attribute.key == key).unwrap();
        let picture = of("picture").await;
        let on = NewDefinition { enabled: true, mappings: Some(("avatar".into(), "picture".into())), ..same(&picture) };
        let changed = f.redefine(SignOn, "picture", on).await.unwrap();
        assert!(changed.is_standard && changed.definition.enabled);
        assert_eq!(of("picture").await, changed);
        assert_eq!(f.attributes(SignOn).await.iter().position(|attribute| attribute.key == "picture"), Some(9), "in its place");
        f.redefine(SignOn, "picture", same(&picture)).await.expect("and back");
        assert_eq!(of("picture").await, picture);
        assert_invalid(
            f.redefine(SignOn, "picture", NewDefinition { datatype: Datatype::Object, ..same(&picture) }).await,
            "user_attribute.datatype",
        );
        for key in ["sub", "email"] {
            let attribute = of(key).await;
            f.redefine(SignOn, key, same(&attribute)).await.expect("what changes nothing");
            let off = NewDefinition { enabled: false, ..same(&attribute) };
            assert_refused(f.redefine(SignOn, key, off).await, "the attributes sub and email cannot be changed");
            assert_eq!(of(key).await, attribute);
        }
        for key in ["sub", "email", "picture", "groups"] {
            assert_refused(f.undefine(SignOn, key).await, "standard attributes cannot be deleted");
        }
        assert_invalid(f.define(SignOn, "picture", text("Twin")).await, "key");
        assert_eq!(f.attributes(SignOn).await.len(), 13);
    }

    async fn uat_02_the_directorys_catalogue_is_another(db: TestDb) {
        let f = Fixture::on(db).await;
        let standard = f.attributes(Directory).await;
        for key in ["email", "department", "employee_id", "address", "groups"] {
            assert!(standard.iter().any(|attribute| attribute.key == key && attribute.is_standard), "{key}");
        }
        f.define(SignOn, "badge", text("Badge")).await.unwrap();
        assert_eq!(f.custom(Directory).await, [""; 0]);
        f.define(Directory, "badge", NewDefinition { datatype: Datatype::Number, ..text("Badge number") }).await.unwrap();
        f.define(Directory, "floor", text("Floor")).await.unwrap();
        assert_eq!((f.custom(SignOn).await, f.custom(Directory).await), (vec!["badge".into()], vec!["badge".into(), "floor".into()]));
        assert_not_found(f.redefine(SignOn, "floor", text("Floor")).await);
        assert_not_found(f.undefine(SignOn, "floor").await);
        f.undefine(SignOn, "badge").await.unwrap();
        assert_eq!(f.custom(Directory).await, ["badge", "floor"]);
        // Standard in one, free in the other.
        f.define(SignOn, "department", text("Department")).await.unwrap();
        assert_invalid(f.define(Directory, "department", text("Department")).await, "key");
        assert_refused(f.undefine(Directory, "department").await, "standard attributes cannot be deleted");
    }

    async fn uat_03_reserved_keys_are_refused_in_both_catalogues(db: TestDb) {
        let f = Fixture::on(db).await;
        for catalogue in [SignOn, Directory] {
            for key in [
                "roles", "permissions", "email", "email_verified", "name", "given_name", "family_name", "sub", "oid", "sid", "iss",
                "aud", "exp", "iat", "nbf", "jti", "azp", "amr", "acr", "nonce", "at_hash", "c_hash", "client_id", "scope", "xoid",
                "xuid", "identities", "metadata", "updated_at", "profile", "birthdate", "zoneinfo", "Roles", "EMAIL", "Client_Id",
            ] {
                let error = assert_invalid(f.define(catalogue, key, text("Mine")).await, "user_attribute.key");
                assert_eq!(error.field_violations()[0].constraint, "user_attribute.key.reserved", "{key}");
            }
            assert_eq!(f.custom(catalogue).await, [""; 0]);
        }
        assert_eq!(f.number("SELECT COUNT(*) FROM user_attributes").await, 0);
    }

    async fn uat_01_of_many_at_once_one_gets_the_key(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (core, environment) = (f.core.clone(), f.env());
            tasks.spawn(async move {
                user_attributes::create(&core, environment, SignOn, "prize".into(), text("Prize"), None).await
            });
        }
        let mut won = 0;
        while let Some(result) = tasks.join_next().await {
            match result.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.kind(), Kind::InvalidArgument, "{error:?}"),
            }
        }
        assert_eq!((won, f.custom(SignOn).await.len()), (1, 1));
        // Switching a standard one from many sides ends in one row as well.
        let picture = f.attributes(SignOn).await.into_iter().find(|attribute| attribute.key == "picture").unwrap();
        for i in 0..8 {
            let (core, environment) = (f.core.clone(), f.env());
            let change = NewDefinition { enabled: true, label: format!("Picture {i}"), ..same(&picture) };
            tasks.spawn(async move { user_attributes::update(&core, environment, SignOn, "picture".into(), change).await });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap().expect("changed");
        }
        assert_eq!(f.number("SELECT COUNT(*) FROM user_attributes WHERE key = 'picture'").await, 1);
    }
}
