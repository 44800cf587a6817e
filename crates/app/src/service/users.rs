//! Users: registering, signing in, and what one sees and changes of oneself.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use larder_core::models::{NewUser, PasswordHash, User, UserPatch};
use larder_core::{Email, Error};
use serde::Serialize;

use super::auth::SignedIn;
use super::error::{ApiError, Outcome};
use super::extract::JsonBody;
use super::form::{Form, TAKEN, Text};
use super::limits::Caller;
use super::state::App;

/// The address they sign in with.
const EMAIL: Text = Text::line(254);
/// The name of their page; it is what others see, too.
const USERNAME: Text = Text::line(100);
/// What they say about themselves.
const BIO: Text = Text::lines(10_000);
/// The address of their picture.
const IMAGE: Text = Text::line(2_048);
/// What they sign in with; its length in bytes is checked where it is hashed.
const PASSWORD: Text = Text::lines(PasswordHash::PASSWORD_MAX);

/// A user as they see themselves.
#[derive(Serialize, Debug)]
struct Account {
    email: Email,
    token: String,
    username: String,
    bio: Option<String>,
    image: Option<String>,
}

/// `{"user":{..}}`
#[derive(Serialize, Debug)]
pub(crate) struct UserBody {
    user: Account,
}

impl UserBody {
    fn new(user: User, token: String) -> Self {
        Self {
            user: Account {
                email: user.email,
                token,
                username: user.username.unwrap_or(user.name),
                bio: user.bio,
                image: user.image,
            },
        }
    }
}

/// `POST /users`
pub(crate) async fn register(
    State(app): State<App>,
    from: Caller,
    JsonBody(body): JsonBody,
) -> Outcome<(StatusCode, Json<UserBody>)> {
    let mut form = Form::parse(&body, "user")?;
    let username = form.required("username", USERNAME);
    let email = form.required("email", EMAIL);
    let email = checked_email(&mut form, Some(email)).unwrap_or_default();
    let password = form.required("password", PASSWORD);
    check_password(&mut form, Some(&password));
    form.finish()?;
    app.limits().register(from).await?;
    let new = app
        .passwords()
        .run(move || NewUser::new(&email, &username, &password)?.username(&username))
        .await?;
    let user = match app.db().insert(new).await {
        Err(error) => return Err(refusal(error, StatusCode::CONFLICT)),
        Ok(user) => user,
    };
    let token = app.sessions().open(user.id).await?;
    Ok((StatusCode::CREATED, Json(UserBody::new(user, token))))
}

/// `POST /users/login`: an email that nobody has is answered as a wrong password is, in the same
/// words and after the same time.
pub(crate) async fn login(
    State(app): State<App>,
    from: Caller,
    JsonBody(body): JsonBody,
) -> Outcome<Json<UserBody>> {
    let mut form = Form::parse(&body, "user")?;
    let email = form.required("email", EMAIL);
    let password = form.required("password", PASSWORD);
    form.finish()?;
    app.limits().sign_in(&email, from).await?;
    let user = match email.parse::<Email>() {
        Ok(email) => {
            app.db()
                .query::<User>()
                .filter(User::EMAIL.eq(email))
                .first()
                .await?
        }
        Err(_) => None,
    };
    let user = user.filter(|user| user.is_active);
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let right = app.passwords().verify(hash.clone(), password).await?;
    let user = user.filter(|_| right).ok_or_else(ApiError::credentials)?;
    let token = app.sessions().open(user.id).await?;
    // A new password ended all sessions; this one may have come after that, by the old one.
    let now = app.db().get::<User>(user.id).await?;
    if let Some(user) = now.filter(|now| now.password_hash == hash) {
        app.limits().signed_in(&email).await;
        return Ok(Json(UserBody::new(user, token)));
    }
    app.sessions().end(&token).await?;
    Err(ApiError::credentials())
}

/// `GET /user`
pub(crate) async fn show(State(app): State<App>, user: SignedIn) -> Outcome<Json<UserBody>> {
    let found = app.db().get::<User>(user.id).await?;
    let found = found.ok_or_else(ApiError::token_invalid)?;
    Ok(Json(UserBody::new(found, user.token)))
}

/// `PUT /user`: a new password ends all sessions, and the answer holds the token of a new one.
pub(crate) async fn update(
    State(app): State<App>,
    user: SignedIn,
    JsonBody(body): JsonBody,
) -> Outcome<Json<UserBody>> {
    let (mut patch, password) = read_changes(&body)?;
    let rekeyed = password.is_some();
    if let Some(password) = password {
        let hash = app
            .passwords()
            .run(move || PasswordHash::new(&password))
            .await?;
        patch.password_hash = Some(Some(hash));
    }
    let changed = match app.db().update(user.id, patch).await {
        Err(error) if error.is_not_found() => return Err(ApiError::token_invalid()),
        Err(error) => return Err(refusal(error, StatusCode::UNPROCESSABLE_ENTITY)),
        Ok(changed) => changed,
    };
    let token = if rekeyed {
        app.sessions().end_all(user.id).await?;
        app.sessions().open(user.id).await?
    } else {
        user.token
    };
    Ok(Json(UserBody::new(changed, token)))
}

/// What a body changes about a user, and their new password.
fn read_changes(body: &[u8]) -> Outcome<(UserPatch, Option<String>)> {
    let mut form = Form::parse(body, "user")?;
    if !form.has_any(&["email", "username", "password", "bio", "image"]) {
        return Err(ApiError::invalid("user", "must change something"));
    }
    let username = form.optional("username", USERNAME);
    let email = form.optional("email", EMAIL);
    let email = checked_email(&mut form, email);
    let password = form.optional("password", PASSWORD);
    check_password(&mut form, password.as_deref());
    let bio = form.clearable("bio", BIO);
    let image = form.clearable("image", IMAGE);
    form.finish()?;
    let patch = UserPatch {
        email: email.and_then(|email| email.parse().ok()),
        name: username.clone(),
        username: username.map(Some),
        bio,
        image,
        ..UserPatch::default()
    };
    Ok((patch, password))
}

/// The email, if it looks like one; an empty one was refused before.
fn checked_email(form: &mut Form, email: Option<String>) -> Option<String> {
    let email = email?;
    if !email.is_empty() && email.parse::<Email>().is_err() {
        form.refuse("email", "is invalid");
    }
    Some(email)
}

/// Refuses a password of the wrong length; an empty one was refused before.
fn check_password(form: &mut Form, password: Option<&str>) {
    let Some(password) = password.filter(|password| !password.is_empty()) else {
        return;
    };
    let (least, most) = (PasswordHash::PASSWORD_MIN, PasswordHash::PASSWORD_MAX);
    if password.chars().count() < least {
        form.refuse(
            "password",
            format!("is too short (minimum is {least} characters)"),
        );
    } else if password.len() > most {
        form.refuse("password", format!("is too long (maximum is {most} bytes)"));
    }
}

/// Names what somebody else has already, by the constraint that said so.
fn refusal(error: Error, status: StatusCode) -> ApiError {
    for (taken, field) in [
        (error.violates(User::USERNAME), "username"),
        (error.violates(User::EMAIL), "email"),
    ] {
        if taken {
            return ApiError::new(status, field, TAKEN);
        }
    }
    error.into()
}
