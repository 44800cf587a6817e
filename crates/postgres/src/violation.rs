//! Names the constraint and the columns that a write violated.
