//! Binds parameters, in the binary format.
