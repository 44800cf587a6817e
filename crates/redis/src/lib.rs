//! Larder on Redis.
