//! Providers: whatever answers calls on an interface.
