//! What the file system does for a guest, counted in instructions as the guest's own work is: measured times 5 a nanosecond.

/// Looking up one name.
pub(crate) const NAME: u64 = 1000;
/// Listing one entry.
pub(crate) const ENTRY: u64 = 500;
/// Making, removing or renaming an entry.
pub(crate) const CHANGE: u64 = 2500;

/// Copying bytes.
pub(crate) const fn bytes(count: usize) -> u64 {
    count as u64 / 2
}

/// Making random bytes.
pub(crate) const fn random(count: usize) -> u64 {
    count as u64 * 4
}
