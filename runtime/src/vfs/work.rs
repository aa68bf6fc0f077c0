//! What the file system does for a guest, counted in instructions as the guest's own work is: measured times 5 a nanosecond.

/// Asking the host for anything.
pub(crate) const CALL: u64 = 500;
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

/// What was done for guests: what they still owe for, and what was counted as theirs.
#[derive(Clone, Copy, Default)]
pub(super) struct Account {
    owed: u64,
    paid: u64,
}

impl Account {
    pub(super) const fn owe(&mut self, fuel: u64) {
        self.owed = self.owed.saturating_add(fuel);
    }

    /// Counts what is owed once it is a slice, and says whether it was.
    pub(super) const fn settle(&mut self, slice: u64) -> bool {
        let is_due = self.owed >= slice;
        if is_due {
            self.paid = self.paid.saturating_add(self.owed);
            self.owed = 0;
        }
        is_due
    }

    pub(super) const fn paid(self) -> u64 {
        self.paid
    }
}
