//! The calls: `sqs:GetQueueAttributes`, and `sqs:GetQueueUrl` for a queue that is known by its name.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName::{
    self, ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesNotVisible as InFlight,
};
use tokio::sync::OnceCell;

use super::is_address;
use crate::aws::{ApiError, Patience, explain, settings};
use crate::poll::plan::{Demand, Harvest, Queue};
use crate::poll::source::{Later, Source, SourceError};
use crate::poll::sources::each::{Each, Told};

const PATIENCE: Patience = Patience {
    attempt: Duration::from_secs(5),
    operation: Duration::from_secs(10),
};

/// The queues of one region.
pub struct Sqs {
    region: Option<String>,
    client: OnceCell<Client>,
    /// Of queues that are known by their names. A queue keeps its address as long as it lives.
    urls: RefCell<HashMap<Queue, String>>,
    each: Each,
}

impl Sqs {
    pub fn new(region: Option<String>) -> Sqs {
        Sqs {
            region,
            client: OnceCell::new(),
            urls: RefCell::default(),
            each: Each::default(),
        }
    }
}

impl Source for Sqs {
    fn bulk(&self) -> bool {
        false
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let region = self.region.clone();
            let connect = || async { Client::new(&settings(region, PATIENCE).await) };
            let client = self.client.get_or_init(connect).await;
            let urls = &self.urls;
            let read = |queue| async move {
                let demand = read(client, urls, &queue).await;
                if demand.is_err() {
                    // It may have been made anew, by another account.
                    urls.borrow_mut().remove(&queue);
                }
                Ok(Told {
                    demand: demand?,
                    ..Told::default()
                })
            };
            self.each.ask(queues, read).await
        })
    }
}

async fn read(
    client: &Client,
    urls: &RefCell<HashMap<Queue, String>>,
    queue: &Queue,
) -> Result<Demand, SourceError> {
    let failed = |error: ApiError| trouble(queue, &error);
    let known = match is_address(queue.as_str()) {
        true => Some(queue.as_str().to_owned()),
        false => urls.borrow().get(queue).cloned(),
    };
    let url = match known {
        Some(url) => url,
        None => {
            let answer = client
                .get_queue_url()
                .queue_name(queue.as_str())
                .send()
                .await;
            let url = answer.map_err(|error| failed(explain(error)))?.queue_url;
            let url = url.ok_or_else(|| unreadable(queue, "no address"))?;
            urls.borrow_mut().insert(queue.clone(), url.clone());
            url
        }
    };
    let ask = client.get_queue_attributes().queue_url(url);
    let answer = ask
        .attribute_names(Visible)
        .attribute_names(InFlight)
        .send()
        .await;
    let told = answer.map_err(|error| failed(explain(error)))?.attributes;
    let told = told.unwrap_or_default().into_iter().collect();
    demand(&told).map_err(|why| unreadable(queue, why))
}

fn demand(told: &BTreeMap<QueueAttributeName, String>) -> Result<Demand, &'static str> {
    let number = |name, missing| {
        told.get(&name)
            .and_then(|text| text.parse().ok())
            .ok_or(missing)
    };
    Ok(Demand {
        waiting: number(Visible, "no number of messages")?,
        running: Some(number(InFlight, "no number of messages in flight")?),
        ..Demand::default()
    })
}

fn unreadable(queue: &Queue, why: &str) -> SourceError {
    SourceError::Unreadable(format!("queue {queue}: the answer has {why}"))
}

fn trouble(queue: &Queue, error: &ApiError) -> SourceError {
    let text = format!("queue {queue}: {error}");
    match error {
        ApiError::Unanswered(_) => SourceError::Unreachable(text),
        _ if error.is_throttled() => SourceError::Limited(None),
        // SQS' own word for it.
        ApiError::Service { code, .. } if code == "RequestThrottled" => SourceError::Limited(None),
        ApiError::NotSent(_) => SourceError::Denied(text),
        // Both protocols' codes.
        ApiError::Service { code, .. }
            if code.ends_with("NonExistentQueue") || code.ends_with("QueueDoesNotExist") =>
        {
            SourceError::Missing(text)
        }
        _ if error.is_denied() || error.is_expired() => SourceError::Denied(text),
        ApiError::Service { .. } => SourceError::Status(text),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};

    use super::*;
    use crate::poll::http::testing::{Asked, Server, answer, block_on, ok};

    fn source(server: &Server) -> Sqs {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKID", "secret", None, None, "test"))
            .http_client(crate::tls::http_client())
            .retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled())
            .endpoint_url(&server.url)
            .build();
        let client = OnceCell::new_with(Some(Client::from_conf(config)));
        Sqs {
            client,
            ..Sqs::new(None)
        }
    }

    fn error(code: &str) -> Vec<u8> {
        let body = format!(r#"{{"__type": "com.amazonaws.sqs#{code}", "message": "no"}}"#);
        answer(
            "400 Bad Request",
            &[("content-type", "application/x-amz-json-1.0")],
            &body,
        )
    }

    fn reply(asked: &Asked) -> Vec<u8> {
        let called = asked.header("x-amz-target").unwrap_or_default();
        let body: serde_json::Value = serde_json::from_str(&asked.body).expect("JSON");
        match (
            called,
            body["QueueName"].as_str(),
            body["QueueUrl"].as_str(),
        ) {
            ("AmazonSQS.GetQueueUrl", Some("gone"), _) => error("QueueDoesNotExist"),
            ("AmazonSQS.GetQueueUrl", Some("busy"), _) => error("RequestThrottled"),
            ("AmazonSQS.GetQueueUrl", Some("mine"), _) => error("AccessDeniedException"),
            ("AmazonSQS.GetQueueUrl", Some(name), _) => ok(&format!(
                r#"{{"QueueUrl": "https://sqs.us-east-1.amazonaws.com/1/{name}"}}"#
            )),
            ("AmazonSQS.GetQueueAttributes", _, Some(url)) if url.ends_with("/jobs") => {
                ok(r#"{"Attributes": {"ApproximateNumberOfMessages": "7",
                    "ApproximateNumberOfMessagesNotVisible": "3"}}"#)
            }
            ("AmazonSQS.GetQueueAttributes", _, Some(url)) if url.ends_with("/half") => {
                ok(r#"{"Attributes": {"ApproximateNumberOfMessages": "7"}}"#)
            }
            _ => ok("{}"),
        }
    }

    #[test]
    fn visible_messages_wait_and_those_in_flight_run() {
        block_on(async {
            let server = Server::start(|asked| Some(reply(asked))).await;
            let mut source = source(&server);
            let url = "https://sqs.us-east-1.amazonaws.com/1/jobs";
            for _ in 0..2 {
                let harvest = source
                    .read(&[Queue::new("jobs"), Queue::new(url)])
                    .await
                    .expect("told");
                for (_, demand) in harvest.demands {
                    let demand = demand.expect("known");
                    assert_eq!((demand.waiting, demand.running), (7, Some(3)));
                }
            }
            // The address of the one that was named is asked for once.
            let asked = server.asked();
            let of = |name| {
                asked
                    .iter()
                    .filter(|asked| asked.header("x-amz-target") == Some(name))
                    .count()
            };
            assert_eq!(of("AmazonSQS.GetQueueUrl"), 1);
            assert_eq!(of("AmazonSQS.GetQueueAttributes"), 4);
        });
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        block_on(async {
            let server = Server::start(|asked| Some(reply(asked))).await;
            for (name, expected) in [
                ("gone", SourceError::Missing(String::new())),
                ("busy", SourceError::Limited(None)),
                ("mine", SourceError::Denied(String::new())),
                ("half", SourceError::Unreadable(String::new())),
                ("none", SourceError::Unreadable(String::new())),
            ] {
                let told = source(&server)
                    .read(&[Queue::new(name)])
                    .await
                    .expect_err(name);
                let kind = std::mem::discriminant(&expected);
                assert_eq!(std::mem::discriminant(&told), kind, "{name}: {told}");
            }
        });
    }
}
