import Foundation

/// A value that one thread at a time may use.
///
/// `Mutex` and `OSAllocatedUnfairLock` are not there on every platform that this package supports.
///
/// `@unchecked`: the compiler can't see that every access to `value` is made under `lock`, and there is none outside of
/// `withLock`. What goes in and comes out is `Sendable` wherever that matters, since closures passed to `withLock` do
/// not escape.
final class Guarded<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    /// Runs `body` alone. It must not wait for anything, and not call a function of the user's.
    func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}
