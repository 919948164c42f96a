//! A host for the tests.
