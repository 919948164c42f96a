//! Resources: owners, types, release.
