//! The lifecycle as a table: state, event, what follows.
