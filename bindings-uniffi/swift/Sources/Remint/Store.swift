import Foundation
internal import RemintCore

/// A store that several processes share: a database, a key-value server, a folder. Three functions.
///
/// Records are opaque text of one line. They hold tokens, unless the client has ``Configuration/storeKeys``: keep them like
/// passwords. A key is the name of one record, and no secret.
///
/// ``FileStore`` is one. No call should take longer than the policy's `store_timeout`: then its answer counts as lost.
public protocol Store: Sendable {
    /// The record, if there is one.
    func load(_ key: String) async throws -> String?

    /// Takes the lock of one record for `ttl`, unless another owner holds it, and reads the record. Repeated by its owner, it
    /// extends the lock. A `ttl` of zero gives it back, if `owner` still holds it, and is always ``StoreLock/locked(record:)``.
    ///
    /// - Throws: ``StoreDown`` if surely nothing was written; after any other error, that is not known.
    func lock(_ key: String, owner: String, ttl: Duration) async throws -> StoreLock

    /// Writes `record` and keeps it for `ttl`, if the text that is stored is exactly `expect`; with nil, if there is none. All
    /// at once: between the comparison and the writing, nobody else writes. If it wrote, the lock of `unlock` ends, should
    /// that owner still hold it.
    ///
    /// - Throws: ``StoreDown`` if surely nothing was written; after any other error, that is not known.
    func save(_ key: String, expect: String?, record: String, ttl: Duration, unlock: String?) async throws -> StoreSave

    /// Tells of what other processes write, until its task is cancelled. Without it, records are looked at as often as the
    /// policy's `store_check` says.
    ///
    /// - Throws: why no news come any more: it is called again a second later.
    func subscribe(_ changes: StoreChanges) async throws

    /// How long a token may be used without a look at the store, if the policy's `store_check` does not say.
    var checkEvery: Duration? { get }
}

extension Store {
    public func subscribe(_ changes: StoreChanges) async throws {}
    public var checkEvery: Duration? { nil }
}

/// What became of a lock.
public enum StoreLock: Sendable, Hashable {
    /// It is the asker's. The record, if there is one.
    case locked(record: String?)
    /// It is somebody else's, until then unless something else ends it. The record, if there is one.
    case held(retryIn: Duration, record: String?)
}

/// What became of a record.
public enum StoreSave: Sendable, Hashable {
    /// It is stored.
    case saved
    /// Something else is stored than was expected: this, or nothing.
    case conflict(record: String?)
}

/// The store did not do what it was asked, and surely wrote nothing.
public struct StoreDown: Error, Sendable {
    /// Why, in the words of what the store is made of.
    public let reason: any Error

    /// An error with the reason for it.
    public init(_ reason: any Error) {
        self.reason = reason
    }
}

extension StoreDown: LocalizedError {
    public var errorDescription: String? { "the store wrote nothing: \(reason.localizedDescription)" }
}

/// A key that records in the store are encrypted with.
public struct StoreKey: Sendable {
    /// A name of your own for it, by which a record says what it was encrypted with.
    public let id: String
    let text: String

    /// A key of 32 bytes.
    public init(id: String, key: Data) {
        self.init(id: id, base64URL: key.base64URL)
    }

    /// A key of 32 bytes, as base64url text without padding.
    public init(id: String, base64URL: String) {
        self.id = id
        text = base64URL
    }
}

/// Where a store tells its client what other processes did.
public struct StoreChanges: Sendable {
    private let tell: @Sendable (String?) -> Void
    private let hadBegun = Guarded(false)

    init(_ tell: @escaping @Sendable (String?) -> Void) {
        self.tell = tell
    }

    /// From now on, nothing is missed. The client then looks at its records again, but for the first time.
    public func subscribed() {
        let isFirst = hadBegun.withLock { hadBegun in
            defer { hadBegun = true }
            return !hadBegun
        }
        if !isFirst { changed(nil) }
    }

    /// Somebody else wrote this record; with nil, any may have been written.
    public func changed(_ key: String?) {
        tell(key)
    }
}

extension StoreLock: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        switch self {
        case .locked: "locked"
        case .held(let retryIn, _): "held, retry in \(retryIn)"
        }
    }

    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension StoreSave: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        switch self {
        case .saved: "saved"
        case .conflict: "conflict"
        }
    }

    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension StoreKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "StoreKey(\(id))" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["id": id], displayStyle: .struct) }
}

extension RemintCore.StoreCommand {
    /// What a command counts as whose answer did not come, or was an error that says nothing.
    var lost: RemintCore.StoreResult {
        if case .load = self { .down } else { .unknown }
    }

    /// Has a store carry it out.
    func carryOut(in store: any Store, _ key: String, boot: () -> Int64) async throws -> RemintCore.StoreResult {
        switch self {
        case .load:
            return try await store.load(key).map { .found(record: Secret($0)) } ?? .missing
        case .lock(let owner, let ttl):
            let lock = try await store.lock(key, owner: owner, ttl: .milliseconds(ttl))
            if ttl == 0 { return .ok }
            switch lock {
            case .locked(let record): return .locked(record: record.map { Secret($0) })
            case .held(let retryIn, let record):
                return .held(
                    retryAt: boot().addingClamped(retryIn.milliseconds), record: record.map { Secret($0) })
            }
        case .save(let expect, let record, let ttl, let unlock):
            let save = try await store.save(
                key, expect: expect?.expose(), record: record.expose(), ttl: .milliseconds(ttl), unlock: unlock)
            switch save {
            case .saved: return .ok
            case .conflict(let record): return .conflict(record: record.map { Secret($0) })
            }
        }
    }
}
