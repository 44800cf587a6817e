//! The derives find Larder under another name, and write nothing that strict lints refuse.
#![deny(unreachable_pub, unused, private_interfaces, private_bounds)]
#![deny(clippy::all)]

/// The dependency as a user might have renamed it.
pub mod stores {
    pub use larder_core as pantry;
}

/// A user's module, all of it public and documented.
pub mod shop {
    use super::stores::pantry::{Email, Entity, Id, Insert, Load, Newtype, Patch, TextEnum};

    /// A name that only this module knows.
    #[derive(Newtype, Clone)]
    #[newtype(crate = "super::stores::pantry")]
    struct Secret(String);

    /// A customer.
    #[derive(Entity, Clone)]
    #[entity(
        table = "customers",
        crate = "super::stores::pantry",
        unique(email, state)
    )]
    pub struct Customer {
        #[key(auto)]
        id: Id<Customer>,
        email: Email,
        #[column(default = State::Open)]
        state: State,
        secret: Option<Secret>,
    }

    /// What a customer is.
    #[derive(TextEnum, Clone, Copy)]
    #[text_enum(crate = super::stores::pantry)]
    pub enum State {
        /// Welcome.
        Open,
        /// Gone.
        Closed,
    }

    /// A new customer.
    #[derive(Insert)]
    #[insert(Customer, crate = "super::stores::pantry")]
    pub struct NewCustomer {
        email: Email,
    }

    /// A changed customer.
    #[derive(Patch)]
    #[patch(Customer, crate = "super::stores::pantry")]
    pub struct CustomerPatch {
        secret: Option<Option<Secret>>,
    }

    /// A shown customer.
    #[derive(Load)]
    #[load(Customer, crate = "super::stores::pantry")]
    pub struct CustomerState {
        /// Their state.
        pub state: State,
    }

    impl Customer {
        /// A customer with a secret.
        pub fn new(email: Email, secret: &str) -> Self {
            let secret = Some(Secret::from(secret.to_owned()));
            Self {
                id: Id::new(0),
                email,
                state: State::Closed,
                secret,
            }
        }

        /// The address.
        pub fn address(&self) -> &str {
            self.email.as_str()
        }
    }

    impl NewCustomer {
        /// A new customer.
        pub fn new(email: Email) -> Self {
            Self { email }
        }
    }

    impl CustomerPatch {
        /// Forgets the secret.
        pub fn forget() -> Self {
            Self { secret: Some(None) }
        }
    }
}

use shop::{Customer, CustomerPatch, CustomerState, NewCustomer, State};
use stores::pantry::{Changes, Email, Entity, Insert, Load, Patch, Result};

#[test]
fn a_renamed_crate_works() -> Result<()> {
    let email: Email = "ada@example.com".parse()?;
    let customer = Customer::new(email.clone(), "tea");
    assert_eq!(customer.address(), "ada@example.com");
    assert_eq!(Entity::into_values(customer)?.len(), 4);
    let mut values = Vec::new();
    NewCustomer::new(email).into_values(&mut values)?;
    assert_eq!(values.len(), 1);
    let mut changes = Changes::default();
    CustomerPatch::forget().into_changes(&mut changes)?;
    assert!(!changes.is_empty());
    assert_eq!(CustomerState::columns(), [Customer::STATE.index()]);
    assert_eq!(State::Open.as_str(), "open");
    Ok(())
}

/// `#[cached]` of a user's module.
pub mod prices {
    use super::stores::pantry::cache::{Cache, cached};

    /// The price of a number of things.
    #[cached(
        ttl = "1m",
        prefix = "price",
        infallible,
        crate = "super::stores::pantry"
    )]
    pub async fn price(cache: &Cache, number: u64) -> u64 {
        number * 3
    }

    /// One that only this module knows.
    #[cached(ttl = "1m", prefix = "secret", infallible, crate = super::stores::pantry)]
    async fn secret(cache: &Cache) -> u64 {
        price(cache, 1).await
    }

    /// Uses it.
    pub async fn total(cache: &Cache) -> u64 {
        secret(cache).await
    }
}

#[tokio::test]
async fn cached_functions_find_a_renamed_crate() {
    use stores::pantry::cache::{Cache, LocalCache};

    let cache = Cache::new(LocalCache::new(1 << 16));
    assert_eq!(prices::total(&cache).await, 3);
    assert!(prices::price::invalidate(&cache, 1).await.is_ok());
}
