//! Telling the CI server to give an agent no more jobs.
//!
//! By a call, or by a command of the agent's user. https is curl's business: the TLS that is
//! compiled in is the AWS clients' own, and not in every build.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use thiserror::Error;

use crate::presets::{Call, Credentials};
use crate::tls::plain_client;

/// For the call and its whole answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub enum CallError {
    /// Without the address, which may have secrets in it.
    #[error("{0}")]
    Request(reqwest::Error),
    #[error("the server answered {0}")]
    Status(StatusCode),
}

/// curl must make it.
pub fn needs_curl(call: &Call) -> bool {
    let scheme = call.url.get(..8).unwrap_or_default();
    scheme.eq_ignore_ascii_case("https://")
}

/// Makes the call; whether the server agreed. A redirection is not followed: whoever is there was
/// not meant to get the credentials.
pub async fn send(call: Call) -> Result<(), CallError> {
    let refused = |error: reqwest::Error| CallError::Request(error.without_url());
    let client = plain_client()
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .build()
        .map_err(refused)?;
    let mut request = client.request(call.method.clone(), &call.url);
    request = match &call.auth {
        None => request,
        Some(Credentials::Basic { user, password }) => request.basic_auth(user, Some(password)),
        Some(Credentials::Bearer(token)) => request.bearer_auth(token),
    };
    if let Some(json) = &call.json {
        let body = json.to_string();
        request = request.header(CONTENT_TYPE, "application/json").body(body);
    }
    let status = request.send().await.map_err(refused)?.status();
    if call.accepts(status) {
        Ok(())
    } else {
        Err(CallError::Status(status))
    }
}

/// The call as a command of curl(1), which reads it from its standard input: arguments can be
/// seen by everybody on the machine.
pub fn curl(call: &Call) -> io::Result<(Vec<OsString>, Stdio)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    // A longer one would have to wait for curl to read it.
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    File::from(write).write_all(curl_config(call).as_bytes())?;
    let words = ["curl", "--config", "-"];
    Ok((words.map(OsString::from).to_vec(), read.into()))
}

fn curl_config(call: &Call) -> String {
    let seconds = PATIENCE.as_secs();
    let mut config = format!(
        "silent\nshow-error\nfail\nproto = \"=https\"\nmax-time = {seconds}\n\
         output = \"/dev/null\"\n"
    );
    // To curl a redirection is a success, unless it is one too many.
    if !(300..400).any(|status| call.accept_status.contains(&status)) {
        config += "location\nmax-redirs = 0\n";
    }
    let mut set = |option: &str, value: &str| {
        config += &format!("{option} = \"{}\"\n", escaped(value));
    };
    set("request", call.method.as_str());
    set("url", &call.url);
    match &call.auth {
        None => {}
        Some(Credentials::Basic { user, password }) => set("user", &format!("{user}:{password}")),
        Some(Credentials::Bearer(token)) => {
            set("header", &format!("Authorization: Bearer {token}"));
        }
    }
    if let Some(json) = &call.json {
        set("header", "Content-Type: application/json");
        set("data-raw", &json.to_string());
    }
    config
}

/// As curl's configuration wants what stands in quotes (curl(1), `--config`).
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => escaped += "\\\\",
            '"' => escaped += "\\\"",
            '\n' => escaped += "\\n",
            '\r' => escaped += "\\r",
            '\t' => escaped += "\\t",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(url: &str) -> Call {
        Call {
            method: reqwest::Method::POST,
            url: url.to_owned(),
            auth: None,
            json: None,
            accept_status: Vec::new(),
        }
    }

    #[test]
    fn https_is_left_to_curl() {
        assert!(needs_curl(&call("https://ci.example/offline")));
        assert!(needs_curl(&call("HTTPS://ci.example/offline")));
        assert!(!needs_curl(&call("http://ci.example/offline")));
        assert!(!needs_curl(&call("ü")));
    }

    #[test]
    fn no_value_ends_its_line_in_the_configuration_of_curl() {
        let mut call = call("https://ci.example/a?b");
        call.auth = Some(Credentials::Basic {
            user: "me\"".to_owned(),
            password: "a\\b\noutput = x".to_owned(),
        });
        call.json = Some(serde_json::json!({"offline": true}));
        let config = curl_config(&call);
        let lines: Vec<_> = config.lines().skip(8).collect();
        let expected = [
            r#"request = "POST""#,
            r#"url = "https://ci.example/a?b""#,
            r#"user = "me\":a\\b\noutput = x""#,
            r#"header = "Content-Type: application/json""#,
            r#"data-raw = "{\"offline\":true}""#,
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn curl_takes_a_redirection_for_an_answer_only_where_the_preset_does() {
        let mut call = call("https://ci.example/a");
        assert!(curl_config(&call).contains("max-redirs = 0\n"));
        call.accept_status = vec![200, 302];
        assert!(!curl_config(&call).contains("location"));
    }

    #[test]
    fn the_error_does_not_show_where_the_call_went() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let error = runtime
            .block_on(send(call("http://user:hush@127.0.0.1:1/token=hush")))
            .expect_err("nobody listens");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}
