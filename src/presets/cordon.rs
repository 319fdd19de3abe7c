//! How new jobs are kept away from an agent that waits to be idle.

use reqwest::Method as HttpMethod;
use serde::Deserialize;

use super::detect::Auth;
use super::drain::command;
use super::template::{Template, Word};
use crate::toml_error;

/// How the CI server is told to give this agent no more jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawCordon")]
pub enum Cordon {
    /// Success is exit status 0.
    Command(Vec<Template>),
    /// Success is a 2xx answer, or one that the call says.
    Http(Box<HttpCall>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCordon {
    command: Option<Vec<Word>>,
    http: Option<HttpCall>,
}

impl TryFrom<RawCordon> for Cordon {
    type Error = &'static str;

    fn try_from(raw: RawCordon) -> Result<Self, Self::Error> {
        match (raw.command, raw.http) {
            (Some(words), None) => command(words).map(Cordon::Command),
            (None, Some(call)) => Ok(Cordon::Http(Box::new(call))),
            _ => Err("give a 'command' or 'http'"),
        }
    }
}

/// A call to the CI server.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawCall")]
pub struct HttpCall {
    pub method: HttpMethod,
    pub url: Template,
    pub auth: Option<Auth>,
    pub json: Option<serde_json::Value>,
    /// Empty: 2xx.
    pub accept_status: Vec<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCall {
    method: String,
    url: Template,
    basic_auth: Option<[Template; 2]>,
    bearer: Option<Template>,
    json: Option<serde_json::Value>,
    #[serde(default)]
    accept_status: Vec<u16>,
}

impl TryFrom<RawCall> for HttpCall {
    type Error = String;

    fn try_from(raw: RawCall) -> Result<Self, Self::Error> {
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        if !known.contains(&raw.method.as_str()) {
            let hint = toml_error::hint(&raw.method.to_ascii_uppercase(), &known);
            return Err(format!("unknown method '{}'{hint}", raw.method));
        }
        Ok(HttpCall {
            method: HttpMethod::from_bytes(raw.method.as_bytes()).map_err(|e| e.to_string())?,
            url: raw.url,
            auth: Auth::new(raw.basic_auth, raw.bearer)?,
            json: raw.json,
            accept_status: raw.accept_status,
        })
    }
}
