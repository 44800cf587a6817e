//! Reads rows, from the binary format.
