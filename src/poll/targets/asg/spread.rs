//! `LaunchInstances` knows one zone a call: which calls make an order, one after the other. Pure.
//!
//! The same order over the same zones makes the same calls with the same tokens, as long as it
//! hears the same answers; and those AWS repeats for eight hours. So an order whose last answer
//! was lost is simply carried out again.

use std::collections::VecDeque;

use super::read::Zone;

/// Instances that one call may launch ("LaunchInstances" in the Auto Scaling API reference).
const MOST: u32 = 100;

#[derive(Debug)]
pub struct Spread {
    token: String,
    /// Calls so far.
    calls: u32,
    /// With the fewest instances first; `true`: it has failed.
    zones: Vec<(String, bool)>,
    /// Zones, by their place, and how many there.
    calls_left: VecDeque<(usize, u32)>,
    /// What a zone could not launch, for the others.
    left_over: u32,
    /// The call that is being made.
    current: (usize, u32),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// `None`: the group's only one.
    pub zone: Option<String>,
    pub count: u32,
    pub token: String,
}

impl Spread {
    /// `count` more instances, where the fewest are.
    pub fn new(mut zones: Vec<Zone>, count: u32, token: &str) -> Spread {
        zones.sort_by(|a, b| (a.alive, &a.name).cmp(&(b.alive, &b.name)));
        let shares = shares(&zones, count);
        let mut calls_left = VecDeque::new();
        for (place, share) in shares.into_iter().enumerate() {
            calls_left.extend(chunks(share).map(|count| (place, count)));
        }
        Spread {
            token: token.to_owned(),
            calls: 0,
            zones: zones.into_iter().map(|zone| (zone.name, false)).collect(),
            calls_left,
            left_over: 0,
            current: (0, 0),
        }
    }

    /// The next call; `None` when all is launched, or no zone is left.
    pub fn next(&mut self) -> Option<Request> {
        if self.calls_left.is_empty() {
            let open = self.zones.iter().position(|(_, failed)| !failed)?;
            let chunks = chunks(std::mem::take(&mut self.left_over));
            self.calls_left.extend(chunks.map(|count| (open, count)));
        }
        let (place, count) = self.calls_left.pop_front()?;
        self.current = (place, count);
        self.calls += 1;
        // Numbered rather than named after the zone: if the zones' order were different in a
        // repetition, the same token with other parameters is refused, where a new one would
        // launch twice.
        Some(Request {
            zone: self.zones.get(place).map(|(name, _)| name.clone()),
            count,
            token: format!("{}-{}", self.token, self.calls),
        })
    }

    /// The call launched so many, and no more are to be had there.
    pub fn fell_short(&mut self, launched: u32) {
        let (place, count) = self.current;
        self.left_over += count.saturating_sub(launched);
        if let Some((_, failed)) = self.zones.get_mut(place) {
            *failed = true;
        }
        let (here, elsewhere) = self.calls_left.drain(..).partition(|(it, _)| *it == place);
        self.calls_left = elsewhere;
        let here: VecDeque<(usize, u32)> = here;
        self.left_over += here.iter().map(|(_, count)| count).sum::<u32>();
    }
}

/// One by one to where the fewest are, so that all become as even as can be.
fn shares(zones: &[Zone], count: u32) -> Vec<u32> {
    // A group without zones is asked without one.
    let mut shares = vec![0; zones.len().max(1)];
    let alive = |place: usize| zones.get(place).map_or(0, |zone| zone.alive);
    for _ in 0..count {
        let fewest = (0..shares.len()).min_by_key(|place| alive(*place) + shares[*place]);
        if let Some(place) = fewest {
            shares[place] += 1;
        }
    }
    shares
}

fn chunks(count: u32) -> impl Iterator<Item = u32> {
    let whole = std::iter::repeat_n(MOST, (count / MOST) as usize);
    whole.chain(Some(count % MOST).filter(|rest| *rest > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zones(alive: &[u32]) -> Vec<Zone> {
        let zone = |(place, alive): (usize, &u32)| Zone {
            name: format!("z{place}"),
            alive: *alive,
        };
        alive.iter().enumerate().map(zone).collect()
    }

    fn told(request: Option<Request>) -> Option<(String, u32, String)> {
        request.map(|it| (it.zone.unwrap_or_default(), it.count, it.token))
    }

    #[test]
    fn instances_go_where_the_fewest_are() {
        let mut spread = Spread::new(zones(&[3, 0, 1]), 4, "t");
        let expected = [("z1", 3, "t-1"), ("z2", 1, "t-2")];
        for (zone, count, token) in expected {
            let call = Some((zone.to_owned(), count, token.to_owned()));
            assert_eq!(told(spread.next()), call);
        }
        assert_eq!(spread.next(), None);
    }

    #[test]
    fn what_a_zone_cannot_launch_goes_to_the_others() {
        let mut spread = Spread::new(zones(&[0, 0]), 4, "t");
        assert_eq!(told(spread.next()), Some(("z0".into(), 2, "t-1".into())));
        spread.fell_short(1);
        assert_eq!(told(spread.next()), Some(("z1".into(), 2, "t-2".into())));
        assert_eq!(told(spread.next()), Some(("z1".into(), 1, "t-3".into())));
        spread.fell_short(0);
        assert_eq!(spread.next(), None);
    }

    #[test]
    fn a_call_launches_a_hundred_at_most() {
        let mut spread = Spread::new(zones(&[0]), 250, "t");
        let counts: Vec<_> = std::iter::from_fn(|| spread.next().map(|it| it.count)).collect();
        assert_eq!(counts, [100, 100, 50]);
        // And a zone that is exhausted is not asked for the rest.
        let mut spread = Spread::new(zones(&[0]), 250, "t");
        spread.next();
        spread.fell_short(30);
        assert_eq!(spread.next(), None);
    }

    #[test]
    fn a_group_without_zones_is_asked_without_one() {
        let mut spread = Spread::new(Vec::new(), 2, "t");
        let call = spread.next().expect("a call");
        assert_eq!((call.zone, call.count), (None, 2));
        spread.fell_short(0);
        assert_eq!(spread.next(), None);
    }

    proptest! {
        /// However the zones fail: never more than ordered, never a zone twice after it failed,
        /// each token once, and the same calls for the same answers.
        #[test]
        fn an_order_is_never_exceeded(
            alive in prop::collection::vec(0u32..9, 0..5),
            count in 1u32..350,
            answers in prop::collection::vec(prop::option::of(0u32..120), 12),
        ) {
            let carry_out = || {
                let mut spread = Spread::new(zones(&alive), count, "t");
                let (mut calls, mut launched, mut failed) = (Vec::new(), 0, Vec::new());
                while let Some(call) = spread.next() {
                    assert!(!failed.contains(&call.zone), "{call:?}");
                    let answer = answers.get(calls.len()).copied().flatten();
                    let got = answer.map_or(call.count, |got| got.min(call.count));
                    if got < call.count {
                        spread.fell_short(got);
                        failed.push(call.zone.clone());
                    }
                    launched += got;
                    calls.push(call);
                }
                (calls, launched, failed.len())
            };
            let (calls, launched, failed) = carry_out();
            prop_assert!(launched <= count);
            prop_assert!(launched == count || failed == alive.len().max(1));
            prop_assert!(calls.iter().all(|call| (1..=100).contains(&call.count)));
            let mut tokens: Vec<_> = calls.iter().map(|call| &call.token).collect();
            tokens.sort();
            tokens.dedup();
            prop_assert_eq!(tokens.len(), calls.len());
            prop_assert_eq!(&carry_out().0, &calls);
        }
    }
}
