//! The driver's errors, classified by code.
