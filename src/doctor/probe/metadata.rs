//! Asking the instance metadata service what it is to this process.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode, redirect};
use tokio::time::{Instant, timeout_at};

use crate::doctor::facts::{Answers, Fact, Metadata, Silence, Tags, Unknown};
use crate::instance::{self, GROUP_TAG, INSTANCE_TAGS, Imds, Placement};
use crate::tls::plain_client;

/// For each of the two looks that tell why no token comes.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn ask(until: Instant) -> Metadata {
    let imds = match instance::metadata() {
        Ok(imds) => imds,
        Err(Placement::NotOnEc2) => return Metadata::Elsewhere,
        Err(_) => return Metadata::SwitchedOff,
    };
    let door = Door::new(&imds);
    let (token, version_1) = tokio::join!(door.token(), door.without_token());
    if let Some(silence) = silence(&token, &version_1) {
        return Metadata::Silent(silence);
    }
    answers(&imds, version_1, until).await
}

/// Without a token there are no answers; the other look tells why.
fn silence(token: &Look, plain: &Look) -> Option<Silence> {
    match (token, plain) {
        (Ok(StatusCode::OK), _) => None,
        (Ok(status), _) => Some(Silence::Refused(status.as_u16())),
        // The hop limit is that of the token's answer alone (EC2 user guide, "Use IMDSv2").
        (Err(_), Ok(_)) => Some(Silence::HopLimit),
        (Err(why), Err(_)) => Some(Silence::Nothing(why.clone())),
    }
}

async fn answers(imds: &Imds, version_1: Look, until: Instant) -> Metadata {
    let get = |path: &'static str| async move {
        match timeout_at(until, imds.get(path)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Unknown::because(error.to_string())),
            Err(_) => Err(Unknown::because(
                "the metadata service did not answer in time",
            )),
        }
    };
    let instance = get("meta-data/instance-id").await;
    let region = get("meta-data/placement/region").await;
    let (instance, region) = match (instance, region) {
        (Ok(Some(instance)), Ok(Some(region))) => (trimmed(instance), trimmed(region)),
        (Err(unknown), _) | (_, Err(unknown)) => {
            return Metadata::Silent(Silence::Nothing(unknown.to_string()));
        }
        _ => {
            let why = "it knows no instance id or region".to_owned();
            return Metadata::Silent(Silence::Nothing(why));
        }
    };
    let there = |answer: Option<String>| {
        answer
            .map(trimmed)
            .ok_or_else(|| Unknown::because("there is none"))
    };
    let zone = get("meta-data/placement/availability-zone").await;
    let market = get("meta-data/instance-life-cycle").await;
    let group = get(GROUP_TAG).await;
    let tags = match group {
        Ok(Some(group)) => Ok(Tags::Group(trimmed(group))),
        Ok(None) => get(INSTANCE_TAGS).await.map(|tags| match tags {
            Some(_) => Tags::NoGroup,
            None => Tags::Hidden,
        }),
        Err(unknown) => Err(unknown),
    };
    let role = get("meta-data/iam/security-credentials/").await;
    Metadata::Answers(Box::new(Answers {
        instance,
        region,
        zone: zone.and_then(there),
        version_1: is_open(version_1),
        is_spot: market.and_then(there).map(|market| market == "spot"),
        tags,
        role: role.map(|role| role.map(trimmed).filter(|role| !role.is_empty())),
    }))
}

fn is_open(version_1: Look) -> Fact<bool> {
    match version_1 {
        Ok(StatusCode::OK) => Ok(true),
        Ok(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Ok(false),
        Ok(status) => Err(Unknown::because(format!("it answered {status}"))),
        Err(why) => Err(Unknown::because(why)),
    }
}

fn trimmed(text: String) -> String {
    text.trim().to_owned()
}

/// A status, or why there is none.
type Look = Result<StatusCode, String>;

/// The service's door, without the client that takes care of tokens by itself.
struct Door<'a> {
    http: Option<Client>,
    endpoint: &'a str,
}

impl Door<'_> {
    fn new(imds: &Imds) -> Door<'_> {
        let http = plain_client()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(LOOK)
            .build();
        Door {
            http: http.ok(),
            endpoint: imds.endpoint(),
        }
    }

    async fn token(&self) -> Look {
        // It lives for as short as is possible: nobody uses it.
        let headers = [
            ("X-aws-ec2-metadata-token-ttl-seconds", "1"),
            ("Content-Length", "0"),
        ];
        self.knock(Method::PUT, "api/token", &headers).await
    }

    async fn without_token(&self) -> Look {
        self.knock(Method::GET, "meta-data/instance-id", &[]).await
    }

    async fn knock(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Look {
        let http = self.http.as_ref().ok_or("no HTTP client can be made")?;
        let mut request = http.request(method, format!("{}/latest/{path}", self.endpoint));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send().await {
            Ok(answer) => Ok(answer.status()),
            Err(error) if error.is_timeout() => Err("no answer in time".to_owned()),
            Err(error) if error.is_connect() => Err("no connection".to_owned()),
            Err(error) => Err(error.without_url().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_all_but_the_token_is_behind_the_hop_limit() {
        let none = || Err("no answer in time".to_owned());
        let nothing = Silence::Nothing("no answer in time".to_owned());
        for (token, plain, expected) in [
            (Ok(StatusCode::OK), Ok(StatusCode::UNAUTHORIZED), None),
            (Ok(StatusCode::OK), none(), None),
            (
                none(),
                Ok(StatusCode::UNAUTHORIZED),
                Some(Silence::HopLimit),
            ),
            (none(), Ok(StatusCode::OK), Some(Silence::HopLimit)),
            (none(), none(), Some(nothing)),
            (
                Ok(StatusCode::FORBIDDEN),
                none(),
                Some(Silence::Refused(403)),
            ),
            (
                Ok(StatusCode::SERVICE_UNAVAILABLE),
                Ok(StatusCode::OK),
                Some(Silence::Refused(503)),
            ),
        ] {
            assert_eq!(silence(&token, &plain), expected, "{token:?} {plain:?}");
        }
    }
}
