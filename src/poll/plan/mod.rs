//! The poller's decisions, without I/O, clock or async.

mod words;

pub use words::{
    BackendId, BootBounds, Demand, GroupId, GroupSettings, Harvest, Hints, Launched, Listed,
    Member, Order, Place, Queue, Reading, Round, Settings, SourceId, Stage, Supply, Trouble,
    TroubleKind,
};
