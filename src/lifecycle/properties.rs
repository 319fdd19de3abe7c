//! The six rules as properties.
