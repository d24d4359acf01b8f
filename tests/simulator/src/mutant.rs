//! Mistakes that a policy, or a shell, could make. They are made at the boundary, so that the core stays what it is.

/// One mistake. The simulator has to notice each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// Leases are answered from whatever the clocks say.
    ServesExpired,
    /// A lock that somebody else has is taken for one's own.
    IgnoresHeld,
    /// The lock is read and not taken.
    LocksNothing,
    /// Saves are believed and not carried out.
    SavesNothing,
    /// Leases that were withdrawn are answered from.
    ServesWithdrawnLeases,
    /// Saves are carried out whatever is stored.
    StripsExpect,
    /// One lease for all keys.
    SharesLeases,
    /// A caller that goes away takes its request along.
    FailsWithItsCaller,
    /// Nothing is remembered of a failure.
    ForgetsFailures,
    /// Nothing is shared.
    SkipsTheStore,
    /// Whoever has waited asks for another new token.
    AsksAgainAndAgain,
    /// Records are written in the clear, whatever was asked for.
    WritesInTheClear,
}
