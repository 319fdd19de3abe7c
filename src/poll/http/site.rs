//! A server as one source sees it: its address, and who asks.

use reqwest::Method;

use super::{Ask, Auth, Http, Reply, join};
use crate::poll::source::SourceError;
use crate::poll::token::{Secret, Token};

/// How the token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: Bearer TOKEN`
    Bearer,
    /// `Authorization: Token TOKEN`
    Token,
    /// The token is the value of this header.
    Header(&'static str),
    /// The token is `user:password`.
    Basic,
}

/// Where a source asks, and with which credentials.
#[derive(Debug, Clone)]
pub struct Site {
    http: Http,
    /// Without a slash at the end.
    base: String,
    scheme: Scheme,
    token: Option<Token>,
    allow_http: bool,
    headers: Vec<(&'static str, &'static str)>,
}

impl Site {
    /// `base` is the url of the server, to which paths are appended.
    pub fn new(
        http: &Http,
        base: &str,
        scheme: Scheme,
        token: Option<Token>,
        allow_http: bool,
    ) -> Site {
        Site {
            http: http.clone(),
            base: base.trim_end_matches('/').to_owned(),
            scheme,
            token,
            allow_http,
            headers: Vec::new(),
        }
    }

    /// Sent with each request.
    pub fn header(mut self, name: &'static str, value: &'static str) -> Site {
        self.headers.push((name, value));
        self
    }

    /// GET of a path of this server.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Reply, SourceError> {
        self.get_url(&join(&self.base, path, query), None).await
    }

    /// GET of a whole address of this server (a [`Reply::next_link`]), if it has changed.
    pub async fn get_url(&self, url: &str, etag: Option<&str>) -> Result<Reply, SourceError> {
        self.send(Method::GET, url, etag).await
    }

    pub async fn delete(&self, path: &str) -> Result<Reply, SourceError> {
        let url = join(&self.base, path, &[]);
        self.send(Method::DELETE, &url, None).await
    }

    /// The token of now.
    pub fn secret(&self) -> Result<Option<Secret>, SourceError> {
        self.token.as_ref().map(Token::read).transpose()
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        etag: Option<&str>,
    ) -> Result<Reply, SourceError> {
        let secret = self.secret()?;
        let both = secret.as_ref().and_then(Secret::user_and_password);
        let auth = match (self.scheme, &secret) {
            (_, None) => Auth::None,
            (Scheme::Bearer, Some(secret)) => Auth::Bearer(secret),
            (Scheme::Token, Some(secret)) => Auth::Token(secret),
            (Scheme::Header(name), Some(secret)) => Auth::Header(name, secret),
            (Scheme::Basic, Some(_)) => match &both {
                Some((user, password)) => Auth::Basic(user, password),
                None => return Err(self.denied("it is not 'user:password'".to_owned())),
            },
        };
        let ask = Ask {
            method,
            url,
            auth,
            headers: &self.headers,
            etag,
            json: None,
            secret: None,
            allow_http: self.allow_http,
        };
        self.http.send(ask).await.map_err(|error| match error {
            SourceError::Denied(text) => self.denied(text),
            other => other,
        })
    }

    /// Says where the token is that was not good enough.
    fn denied(&self, text: String) -> SourceError {
        SourceError::Denied(match &self.token {
            Some(place) => format!("{text} (the token is from {place})"),
            None => format!("{text} (no token is configured)"),
        })
    }
}

/// A server and where its token is, for [`crate::poll::source::Spec::server`].
pub fn describe(base: &str, token: Option<&Token>) -> String {
    let base = super::shown(base);
    let base = base.trim_end_matches('/');
    match token {
        Some(token) => format!("{base} (token: {token})"),
        None => base.to_owned(),
    }
}
