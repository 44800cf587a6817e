//! [`Client`]: what a front end does, typed. A field too many or too few in an answer fails.

use std::fmt::Display;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse";

/// Somebody who sends requests; signed in or not.
#[derive(Clone)]
pub(crate) struct Client {
    router: Router,
    token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// As it came.
    pub(crate) text: String,
    /// The same as JSON; a text if it is none.
    pub(crate) body: Value,
}

/// A live feed that is being read.
pub(crate) struct Events {
    body: Body,
    read: String,
}

/// One of its events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveEvent {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Events {
    /// The next event; `None` once the feed has ended.
    pub(crate) async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let value = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
                    value.map(str::to_owned)
                };
                if let (Some(name), Some(id), Some(data)) =
                    (field("event"), field("id"), field("data"))
                {
                    let data = serde_json::from_str(&data).expect("JSON");
                    return Some(LiveEvent { name, id, data });
                }
                continue; // a comment that keeps the connection alive
            }
            let frame = self.body.frame().await?.expect("it does not break");
            let data = frame.into_data().expect("no trailers");
            self.read += std::str::from_utf8(&data).expect("UTF-8");
        }
    }
}

#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) username: String,
    pub(crate) bio: Option<String>,
    pub(crate) image: Option<String>,
}

#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) username: String,
    pub(crate) bio: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) following: bool,
}

#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Article {
    pub(crate) slug: String,
    pub(crate) title: String,
    pub(crate) description: String,
    /// Not in lists.
    pub(crate) body: Option<String>,
    pub(crate) tag_list: Vec<String>,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
    pub(crate) favorited: bool,
    pub(crate) favorites_count: u64,
    pub(crate) author: Profile,
}

#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Comment {
    pub(crate) id: i64,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
    pub(crate) body: String,
    pub(crate) author: Profile,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Articles {
    pub(crate) articles: Vec<Article>,
    pub(crate) articles_count: u64,
}

impl Articles {
    /// Their titles, in order.
    pub(crate) fn titles(&self) -> Vec<&str> {
        self.articles.iter().map(|one| one.title.as_str()).collect()
    }
}

impl Client {
    /// Somebody who has not signed in.
    pub(crate) fn new(router: Router) -> Self {
        Self {
            router,
            token: None,
        }
    }

    /// The same with a token.
    pub(crate) fn signed_in(&self, token: &str) -> Self {
        Self {
            router: self.router.clone(),
            token: Some(token.to_owned()),
        }
    }

    /// The token.
    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().expect("signed in")
    }

    /// Sends any request.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await;
        let (head, body) = response.expect("it cannot fail").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Answer {
            status: head.status,
            headers: head.headers,
            body: match text.as_str() {
                "" => Value::Null,
                text => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
            },
            text,
        }
    }

    /// A request below `/api`, with the token and a body or none.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(format!("/api{path}"));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Token {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, Body::from);
        request.body(body).expect("a request")
    }

    /// `GET`
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, None)).await
    }

    /// The live feed, from behind this event or from now on.
    pub(crate) async fn live(&self, after: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, "/live", None);
        if let Some(id) = after {
            let id = id.parse().expect("a header");
            request.headers_mut().insert("last-event-id", id);
        }
        let response = self.router.clone().oneshot(request).await;
        let response = response.expect("it cannot fail");
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        Events {
            body: response.into_body(),
            read: String::new(),
        }
    }

    /// `POST` with a body.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let body = Some(body.to_string().into_bytes());
        self.send(self.request(Method::POST, path, body)).await
    }

    /// `POST` of any bytes.
    pub(crate) async fn post_bytes(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        let body = Some(body.into());
        self.send(self.request(Method::POST, path, body)).await
    }

    /// `POST` without a body.
    pub(crate) async fn post_nothing(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path, None)).await
    }

    /// `PUT`
    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        let body = Some(body.to_string().into_bytes());
        self.send(self.request(Method::PUT, path, body)).await
    }

    /// `DELETE`
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path, None)).await
    }

    /// A new user of this name, by `POST /users`.
    pub(crate) async fn register(&self, name: &str) -> User {
        let user = new_user(name, &email_of(name));
        self.post("/users", user).await.ends(201).read("user")
    }

    /// Signs in, by `POST /users/login`.
    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        let body = json!({"user": {"email": email, "password": password}});
        self.post("/users/login", body).await
    }

    /// Who one is.
    pub(crate) async fn user(&self) -> User {
        self.get("/user").await.ends(200).read("user")
    }

    /// Somebody's profile.
    pub(crate) async fn profile(&self, name: &str) -> Profile {
        let path = format!("/profiles/{name}");
        self.get(&path).await.ends(200).read("profile")
    }

    /// Publishes an article with these tags.
    pub(crate) async fn publish(&self, title: &str, tags: &[&str]) -> Article {
        let article = new_article(title, tags);
        self.post("/articles", article)
            .await
            .ends(201)
            .read("article")
    }

    /// An article.
    pub(crate) async fn article(&self, slug: &str) -> Article {
        let path = format!("/articles/{slug}");
        self.get(&path).await.ends(200).read("article")
    }

    /// A list of articles.
    pub(crate) async fn list(&self, path: &str) -> Articles {
        self.get(path).await.ends(200).whole()
    }

    /// Says something about an article.
    pub(crate) async fn comment(&self, slug: &str, body: impl Display) -> Comment {
        let path = format!("/articles/{slug}/comments");
        let comment = json!({"comment": {"body": body.to_string()}});
        self.post(&path, comment).await.ends(201).read("comment")
    }

    /// What is said about an article.
    pub(crate) async fn comments(&self, slug: &str) -> Vec<Comment> {
        let path = format!("/articles/{slug}/comments");
        self.get(&path).await.ends(200).read("comments")
    }
}

/// The body of a registration.
pub(crate) fn new_user(username: &str, email: &str) -> Value {
    json!({"user": {"username": username, "email": email, "password": PASSWORD}})
}

/// The body of a new article.
pub(crate) fn new_article(title: &str, tags: &[&str]) -> Value {
    json!({"article": {
        "title": title, "description": "In short.", "body": "At length.", "tagList": tags
    }})
}

/// The email of a user of this name.
pub(crate) fn email_of(name: &str) -> String {
    format!("{}@example.com", name.to_lowercase())
}

impl Answer {
    /// Fails unless this is the status.
    #[track_caller]
    pub(crate) fn ends(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    /// Fails unless it is this refusal, and only this.
    #[track_caller]
    pub(crate) fn refuses(self, status: u16, field: &str, message: &str) {
        let body = self.ends(status).body;
        assert_eq!(body, json!({"errors": {field: [message]}}));
    }

    /// Fails unless these stand in the body in this order.
    #[track_caller]
    pub(crate) fn has_in_order(&self, names: &[&str]) {
        let places: Vec<_> = names
            .iter()
            .map(|name| self.text.find(&format!("\"{name}\":")))
            .collect();
        assert!(
            places.iter().all(Option::is_some),
            "{names:?} in {}",
            self.text
        );
        assert!(places.is_sorted(), "{names:?} in {}", self.text);
    }

    /// What stands under the only name of the body.
    #[track_caller]
    pub(crate) fn read<T: DeserializeOwned>(self, name: &str) -> T {
        let Value::Object(mut body) = self.body else {
            panic!("no object: {}", self.body);
        };
        let value = body.remove(name);
        assert!(body.is_empty(), "more than `{name}`: {body:?}");
        serde_json::from_value(value.expect(name)).expect("the shape that the API describes")
    }

    /// The body.
    #[track_caller]
    pub(crate) fn whole<T: DeserializeOwned>(self) -> T {
        serde_json::from_value(self.body).expect("the shape that the API describes")
    }
}
