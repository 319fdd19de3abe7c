//! The SDK as we use it: one try a call, always with a time limit, and one HTTPS client.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use super::ApiError;
use crate::tls;

/// The SDK waits for ever by default.
const CONNECT: Duration = Duration::from_secs(3);

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the connection to the end of the answer.
    pub attempt: Duration,
    /// Resolving credentials included.
    pub operation: Duration,
}

impl Patience {
    pub fn timeouts(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(self.attempt)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }
}

/// Credentials, `AWS_ENDPOINT_URL*` and profiles as everywhere; and so the region, where it is
/// not given.
pub async fn settings(region: Option<String>, patience: Patience) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(tls::http_client())
        // What changes something must not be repeated blindly after a lost answer: our callers
        // decide about the next try.
        .retry_config(RetryConfig::disabled())
        .timeout_config(patience.timeouts());
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}

/// What an error of the SDK's says.
pub fn explain<E>(error: SdkError<E, HttpResponse>) -> ApiError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ConstructionFailure(_) => ApiError::NotSent(in_words(&error)),
        SdkError::ServiceError(answer) => ApiError::Service {
            status: answer.raw().status().as_u16(),
            code: answer.err().code().unwrap_or_default().to_owned(),
            message: answer.err().message().unwrap_or_default().to_owned(),
        },
        SdkError::ResponseError(answer) => ApiError::Service {
            status: answer.raw().status().as_u16(),
            code: "Unreadable".to_owned(),
            message: in_words(&error),
        },
        _ => ApiError::Unanswered(in_words(&error)),
    }
}

/// An error and its causes in one line. The SDK's own form adds a dump of its types, which tells
/// nobody anything.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !words.contains(&said) {
            words = format!("{words}: {said}");
        }
        cause = error.source();
    }
    words
}
