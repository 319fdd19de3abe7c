//! `max_instances`: what all groups together may have.

use crate::lifecycle::Instant;

use super::group::Group;

/// What is left of it, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// `None`: a group counts that nobody knows the size of, so nothing is left.
    left: Option<u64>,
}

/// What all groups together have, may have got, or are about to get. `None`: nobody knows of one.
///
/// A group that was not read since `since` counts with its maximum: it may be full,
/// or with more, if it had more before.
pub fn used<'a>(
    groups: impl Iterator<Item = &'a Group>,
    now: Instant,
    since: Instant,
) -> Option<u64> {
    groups
        .map(|group| {
            if group.read_since(since) {
                Some(group.claims(now))
            } else {
                let max = group.settings.max.map(u64::from);
                max.map(|max| max.max(group.claims(now)))
            }
        })
        .sum()
}

impl Budget {
    pub fn new(max: Option<u32>, used: impl FnOnce() -> Option<u64>) -> Budget {
        Budget {
            left: match max {
                None => Some(u64::MAX),
                Some(max) => used().map(|used| u64::from(max).saturating_sub(used)),
            },
        }
    }

    /// What may be launched, if so much is kept for others.
    pub fn left(&self, reserved: u64) -> u32 {
        let left = self.left.unwrap_or(0).saturating_sub(reserved);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    pub fn spend(&mut self, count: u32) {
        if let Some(left) = self.left
            && left != u64::MAX
        {
            self.left = Some(left.saturating_sub(u64::from(count)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_maximum_leaves_everything_and_an_unknown_use_leaves_nothing() {
        let mut free = Budget::new(None, || None);
        free.spend(u32::MAX);
        assert_eq!(free.left(u64::from(u32::MAX)), u32::MAX);
        assert_eq!(Budget::new(Some(10), || None).left(0), 0);
    }

    #[test]
    fn what_is_spent_or_kept_for_others_is_not_left() {
        let mut budget = Budget::new(Some(10), || Some(4));
        assert_eq!(budget.left(0), 6);
        assert_eq!(budget.left(2), 4);
        assert_eq!(budget.left(99), 0);
        budget.spend(5);
        assert_eq!(budget.left(0), 1);
        assert_eq!(Budget::new(Some(10), || Some(11)).left(0), 0);
    }
}
