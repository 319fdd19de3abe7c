//! Client tokens: the same for the same view, so that a repeated order has no further effect.

use std::time::Duration;

use super::words::{BackendId, GroupId, Member, Place};

/// FNV-1a, 128 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): the same on every machine and
/// in every version, which the standard library's hashers do not promise. Not for secrets. A
/// collision would have to be between two views of one group within the lifetime of a token.
#[derive(Debug, Clone, Copy)]
pub struct Fnv(u128);

impl Fnv {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;

    pub fn new() -> Fnv {
        Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// Parts are told apart: `ab`, `c` is not `a`, `bc`.
    pub fn add(mut self, part: &[u8]) -> Fnv {
        let length = (part.len() as u64).to_le_bytes();
        for byte in length.iter().chain(part) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(Fnv::PRIME);
        }
        self
    }

    pub fn finish(self) -> u128 {
        self.0
    }
}

/// All members of a group, in their order.
pub fn members<'a>(members: impl Iterator<Item = &'a Member>) -> u128 {
    members
        .fold(Fnv::new(), |hash, member| {
            hash.add(member.as_str().as_bytes())
        })
        .finish()
}

/// In view of what an order is made.
pub struct View<'a> {
    pub group: &'a GroupId,
    pub backend: &'a BackendId,
    pub place: &'a Place,
    /// See [`members`].
    pub members: u128,
    /// What the order asks for, and how many more that is.
    pub desired: u32,
    pub count: u32,
    pub epoch: Epoch,
}

/// Which attempt: a new one begins with each definite answer, so that the next order in the same
/// view is one of its own. The time, coarsely, parts the epochs of a poller from those of the one
/// that ran before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    number: u64,
    bucket: u64,
}

impl Epoch {
    const BUCKET: Duration = Duration::from_secs(120);

    /// `wall`: since 1970.
    pub fn new(wall: Duration) -> Epoch {
        Epoch {
            number: 0,
            bucket: wall.as_secs() / Epoch::BUCKET.as_secs(),
        }
    }

    pub fn next(self, wall: Duration) -> Epoch {
        Epoch {
            number: self.number.wrapping_add(1),
            ..Epoch::new(wall)
        }
    }
}

impl View<'_> {
    /// 52 characters of `[0-9a-f]`.
    pub fn token(&self) -> String {
        let hash = Fnv::new()
            .add(self.group.as_str().as_bytes())
            .add(self.backend.as_str().as_bytes())
            .add(self.place.as_str().as_bytes())
            .add(&self.members.to_le_bytes())
            .add(&self.desired.to_le_bytes())
            .add(&self.count.to_le_bytes())
            .add(&self.epoch.number.to_le_bytes())
            .add(&self.epoch.bucket.to_le_bytes());
        let mut token = format!("{:032x}{:032x}", hash.finish(), hash.add(b"2").finish());
        token.truncate(52);
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(change: impl FnOnce(&mut View<'_>)) -> String {
        let (group, backend, place) = (
            GroupId::new("linux"),
            BackendId::new("asg eu-west-1"),
            Place::new("ci-linux"),
        );
        let mut view = View {
            group: &group,
            backend: &backend,
            place: &place,
            members: members([Member::new("i-1"), Member::new("i-2")].iter()),
            desired: 3,
            count: 1,
            epoch: Epoch::new(Duration::from_secs(1_700_000_000)),
        };
        change(&mut view);
        view.token()
    }

    #[test]
    fn a_token_is_what_auto_scaling_and_ec2_accept() {
        let token = token(|_| ());
        assert_eq!(token.len(), 52);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn the_same_view_has_the_same_token_on_every_machine() {
        assert_eq!(token(|_| ()), token(|_| ()));
        // The reference value of FNV-1a 128 for "a", without the length that parts parts.
        let hash = (Fnv::new().0 ^ u128::from(b'a')).wrapping_mul(Fnv::PRIME);
        assert_eq!(hash, 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn every_part_of_a_view_changes_its_token() {
        let wall = Duration::from_secs(1_700_000_000);
        let other = GroupId::new("linu");
        let tokens = [
            token(|_| ()),
            token(|view| view.members = members([Member::new("i-1")].iter())),
            token(|view| view.members = members([Member::new("i-1i-2")].iter())),
            token(|view| view.desired = 4),
            token(|view| view.count = 2),
            token(|view| view.epoch = view.epoch.next(wall)),
            token(|view| view.epoch = Epoch::new(wall + Duration::from_secs(120))),
        ];
        let group = {
            let mut view = None;
            token(|of| view = Some((of.members, of.desired, of.count, of.epoch)));
            let (members, desired, count, epoch) = view.expect("the closure was called");
            let (backend, place) = (BackendId::new("asg eu-west-1"), Place::new("ci-linux"));
            View {
                group: &other,
                backend: &backend,
                place: &place,
                members,
                desired,
                count,
                epoch,
            }
            .token()
        };
        let mut all = tokens.to_vec();
        all.push(group);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn an_epoch_begun_within_the_same_two_minutes_is_the_same() {
        let wall = Duration::from_secs(1_700_000_040);
        assert_eq!(Epoch::new(wall), Epoch::new(wall + Duration::from_secs(79)));
    }
}
