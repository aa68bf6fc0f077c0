//! Tests of the check of states.
