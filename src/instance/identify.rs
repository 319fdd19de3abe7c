//! Finding out which machine this is.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::Clients;
use super::backoff::Backoff;
use super::dmi;
use super::identity::{GroupName, Identity, InstanceId, Membership, Placement};
use super::imds::{Imds, ImdsError};
use super::notices::HookNames;

/// The instance's Auto Scaling group, where instance tags are in the metadata.
pub const GROUP_TAG: &str = "meta-data/tags/instance/aws:autoscaling:groupName";
/// There where instance tags are in the metadata.
pub const INSTANCE_TAGS: &str = "meta-data/tags/instance/";
/// A fleet that boots asks all at once, and both services throttle.
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_CAP: Duration = Duration::from_secs(5);
const GROUP_TRIES: u32 = 5;

/// Whether this is a container, of which a machine has many, rather than a machine. Who names a
/// metadata service means that service's machine.
pub fn is_container() -> bool {
    let marked = ["/.dockerenv", "/run/.containerenv"];
    Imds::configured_endpoint().is_none()
        && (marked.iter().any(|path| Path::new(path).exists())
            || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some())
}

/// The metadata service of this machine, or what the machine is without one.
pub fn metadata() -> Result<Arc<Imds>, Placement> {
    let is_amazon = dmi::is_amazon();
    if Imds::configured_endpoint().is_none() && !is_amazon {
        return Err(Placement::NotOnEc2);
    }
    let without = if is_amazon {
        Placement::Unknown
    } else {
        Placement::NotOnEc2
    };
    Imds::from_env().map(Arc::new).ok_or(without)
}

/// What machine this is. The service is asked again until it has answered or `patience` is over.
pub async fn identify(imds: &Imds, patience: Duration) -> Placement {
    let began = Instant::now();
    let mut backoff = Backoff::new(BACKOFF, BACKOFF_CAP);
    loop {
        let error = match ask(imds).await {
            Ok(Some(mut identity)) => {
                identity.membership = membership(imds, &identity).await;
                let group = identity.group().map(GroupName::as_str);
                info!(instance = %identity.instance_id, region = %identity.region, group, "instance.known");
                return Placement::Ec2(identity);
            }
            Ok(None) => "it knows no instance id or region".to_owned(),
            Err(error) => error.to_string(),
        };
        let wait = backoff.next();
        if began.elapsed() + wait > patience {
            warn!(%error, "instance.unknown");
            return Placement::Unknown;
        }
        debug!(%error, "instance.unknown yet");
        tokio::time::sleep(wait).await;
    }
}

async fn ask(imds: &Imds) -> Result<Option<Identity>, ImdsError> {
    let instance_id = imds.get("meta-data/instance-id").await?;
    let region = imds.get("meta-data/placement/region").await?;
    let (Some(instance_id), Some(region)) = (instance_id, region) else {
        return Ok(None);
    };
    let zone = imds.get("meta-data/placement/availability-zone").await?;
    Ok(Some(Identity {
        instance_id: InstanceId::new(instance_id.trim()),
        region: region.trim().to_owned(),
        availability_zone: zone.map(|zone| zone.trim().to_owned()),
        membership: Membership::Unknown,
    }))
}

/// By the instance's tag where tags are in its metadata, else by asking Auto Scaling.
async fn membership(imds: &Imds, identity: &Identity) -> Membership {
    match imds.get(GROUP_TAG).await {
        Ok(Some(group)) => return Membership::In(GroupName::new(group.trim())),
        // Where the tags are listed, a tag that is not there does not exist.
        Ok(None) if matches!(imds.get(INSTANCE_TAGS).await, Ok(Some(_))) => {
            return Membership::None;
        }
        Ok(None) => debug!("instance.tags_hidden: InstanceMetadataTags is off"),
        Err(error) => warn!(%error, "instance.tags_unknown"),
    }
    let Some(clients) = Clients::new(&identity.region, HookNames::default()) else {
        return Membership::Unknown;
    };
    let mut backoff = Backoff::new(BACKOFF, BACKOFF_CAP);
    for _ in 0..GROUP_TRIES {
        match clients.group_of(&identity.instance_id).await {
            Ok(Some(group)) => return Membership::In(group),
            Ok(None) => return Membership::None,
            Err(error) if super::verdict::classify(&error).is_final() => {
                warn!(%error, "instance.group_unknown");
                return Membership::Unknown;
            }
            Err(error) => debug!(%error, "instance.group_unknown yet"),
        }
        tokio::time::sleep(backoff.next()).await;
    }
    warn!("instance.group_unknown: Auto Scaling did not answer");
    Membership::Unknown
}
