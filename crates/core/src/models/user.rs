//! Users, and how new ones are checked.

use serde::{Deserialize, Serialize};

use super::PasswordHash;
use crate::{Email, Entity, Error, Id, Insert, Patch, Result, Timestamp};

/// The most characters of a name.
const NAME_MAX: usize = 100;
/// The most characters of a username.
const USERNAME_MAX: usize = 128;

/// Someone who writes posts and comments.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(table = "users")]
pub struct User {
    /// The key.
    #[key(auto)]
    pub id: Id<User>,
    /// The address they sign in with.
    #[unique]
    pub email: Email,
    /// What others see.
    #[column(max_len = 100)]
    pub name: String,
    /// The name in the address of their page, which nobody else has; none until they get one.
    #[unique]
    #[column(max_len = 128)]
    pub username: Option<String>,
    /// Whether they may sign in.
    #[column(default = true)]
    pub is_active: bool,
    /// What they say about themselves.
    pub bio: Option<String>,
    /// The address of their picture.
    #[column(max_len = 2048)]
    pub image: Option<String>,
    /// What is kept of their password; never serialised.
    #[serde(skip)]
    pub password_hash: Option<PasswordHash>,
    /// When they joined.
    #[created_at]
    pub created_at: Timestamp,
    /// When they were last changed, if ever.
    #[updated_at]
    pub updated_at: Option<Timestamp>,
}

/// What a new user needs: made by [`NewUser::new`], which checks it.
#[derive(Insert, Clone, Debug, PartialEq)]
#[insert(User)]
pub struct NewUser {
    email: Email,
    name: String,
    username: Option<String>,
    bio: Option<String>,
    password_hash: Option<PasswordHash>,
}

impl NewUser {
    /// Checks everything a person types and hashes the password.
    ///
    /// The name is trimmed. Hashing takes tens of milliseconds: a server calls this on a blocking
    /// thread (`spawn_blocking`).
    ///
    /// # Errors
    /// `Invalid`, naming every field at fault: an email that is none, a name that is blank or
    /// longer than 100 characters, a password of less than 8 characters or more than 1024 bytes.
    ///
    /// ```
    /// use larder_core::models::NewUser;
    ///
    /// let error = NewUser::new("ada@nowhere", "  ", "short").unwrap_err();
    /// assert!(error.fields().map(|(field, _)| field).eq(["email", "name", "password"]));
    /// ```
    pub fn new(email: &str, name: &str, password: &str) -> Result<Self> {
        let problem = PasswordHash::problem(password);
        let mut user = Self::checked(email, name, problem)?;
        user.password_hash = Some(PasswordHash::new(password)?);
        Ok(user)
    }

    /// A user who cannot sign in with a password. Checks the rest like [`new`](Self::new), at no
    /// cost.
    pub fn without_password(email: &str, name: &str) -> Result<Self> {
        Self::checked(email, name, None)
    }

    /// Adds what they say about themselves.
    #[must_use]
    pub fn bio(mut self, bio: impl Into<String>) -> Self {
        self.bio = Some(bio.into());
        self
    }

    /// Gives them the name of their page, which is trimmed.
    ///
    /// # Errors
    /// `Invalid` for one that is blank, longer than 128 characters, or holds a control character.
    pub fn username(mut self, username: &str) -> Result<Self> {
        let username = check_username(username).map_err(|problem| {
            Error::invalid("the new user is not valid").with_field("username", problem)
        })?;
        self.username = Some(username.to_owned());
        Ok(self)
    }

    fn checked(email: &str, name: &str, password: Option<&'static str>) -> Result<Self> {
        let (email, name) = (email.trim().parse::<Email>(), check_name(name));
        match (email, name, password) {
            (Ok(email), Ok(name), None) => Ok(Self {
                email,
                name: name.to_owned(),
                username: None,
                bio: None,
                password_hash: None,
            }),
            (email, name, password) => {
                let mut error = Error::invalid("the new user is not valid");
                if let Err(cause) = email {
                    error = error.with_field("email", cause.message().to_owned());
                }
                if let Err(problem) = name {
                    error = error.with_field("name", problem);
                }
                if let Some(problem) = password {
                    error = error.with_field("password", problem);
                }
                Err(error)
            }
        }
    }
}

/// The trimmed name, or what is wrong with it.
fn check_name(name: &str) -> Result<&str, &'static str> {
    let name = name.trim();
    if name.is_empty() {
        Err("must not be blank")
    } else if name.chars().count() > NAME_MAX {
        Err("must have at most 100 characters")
    } else if name.contains('\0') {
        Err("must not hold a NUL character")
    } else {
        Ok(name)
    }
}

/// The trimmed username, or what is wrong with it.
fn check_username(username: &str) -> Result<&str, &'static str> {
    let username = username.trim();
    if username.is_empty() {
        Err("must not be blank")
    } else if username.chars().count() > USERNAME_MAX {
        Err("must have at most 128 characters")
    } else if username.contains(char::is_control) {
        Err("must not hold control characters")
    } else {
        Ok(username)
    }
}

/// What can be changed about a user.
#[derive(Patch, Clone, Debug, Default, PartialEq)]
#[patch(User)]
pub struct UserPatch {
    /// See [`User::email`].
    pub email: Option<Email>,
    /// See [`User::name`].
    pub name: Option<String>,
    /// See [`User::username`]; `Some(None)` removes it.
    pub username: Option<Option<String>>,
    /// See [`User::is_active`].
    pub is_active: Option<bool>,
    /// See [`User::bio`]; `Some(None)` removes it.
    pub bio: Option<Option<String>>,
    /// See [`User::image`]; `Some(None)` removes it.
    pub image: Option<Option<String>>,
    /// See [`User::password_hash`]; `Some(None)` removes it.
    pub password_hash: Option<Option<PasswordHash>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_at_fault_is_named() -> Result<()> {
        let user = NewUser::without_password(" ada@example.com ", "  Ada ")?.bio("Countess");
        assert_eq!(
            (user.email.as_str(), user.name.as_str()),
            ("ada@example.com", "Ada")
        );
        let error = NewUser::new("ada", &"x".repeat(101), "1234567").expect_err("three mistakes");
        assert!(error.is_invalid());
        assert_eq!(error.fields().count(), 3);
        assert!(
            error
                .to_string()
                .contains("password must have 8 characters or more")
        );
        Ok(())
    }

    #[test]
    fn a_username_is_checked() -> Result<()> {
        let new = || NewUser::without_password("ada@example.com", "Ada");
        assert_eq!(new()?.username(" ada ")?.username.as_deref(), Some("ada"));
        for bad in [" ", "a\0b", "a\nb", &"x".repeat(129)] {
            let error = new()?.username(bad).expect_err(bad);
            assert!(error.fields().map(|(field, _)| field).eq(["username"]));
        }
        Ok(())
    }

    #[test]
    fn json_leaves_the_hash_out() -> Result<()> {
        let json = r#"{"id":1,"email":"a@b.co","name":"A","is_active":true,"bio":null,
            "created_at":"2018-03-12T17:18:12.873Z","updated_at":null}"#;
        let mut user: User = serde_json::from_str(json).expect("the models' field names");
        user.password_hash = Some(PasswordHash::new("correct horse battery")?);
        let json = serde_json::to_string(&user).expect("plain data");
        assert!(!json.contains("argon2") && !json.contains("password"));
        Ok(())
    }
}
