//! Which tasks there should be.
