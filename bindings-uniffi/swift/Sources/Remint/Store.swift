internal import RemintCore

/// A store that several processes share, such as a database or a key-value server. Records are secrets: keep them like
/// passwords.
public protocol Store: Sendable {
    /// Carries out one command, atomically.
    ///
    /// - Throws: whatever it likes: then whether the command was carried out counts as unknown.
    func handle(_ command: StoreCommand) async throws -> StoreResult
}

/// What a shared store is to do with one record. Durations are milliseconds.
public struct StoreCommand: Sendable {
    /// The kinds of command.
    public enum Action: Sendable {
        /// Read the record.
        case load
        /// Take the lock for `ttl`, and read the record. Repeated by its owner, it extends; with 0, it releases.
        case lock(owner: String, ttl: Int64)
        /// Write `record` for `ttl` if what is there still is `expect`, and perhaps give the lock back.
        case save(expect: String?, record: String, ttl: Int64, unlock: Bool)
        /// Remove the record.
        case delete
    }

    /// The record's key, which holds no secret.
    public let key: String
    /// What to do.
    public let action: Action
}

/// What a shared store says.
public enum StoreResult: Sendable {
    /// Done.
    case ok
    /// Nothing is stored there.
    case missing
    /// This is stored there.
    case found(record: String)
    /// The lock is the asker's; `fence` grows with every lock of this key.
    case locked(record: String?, fence: Int64)
    /// Somebody else has the lock: ask again after about this time.
    case held(retryIn: Duration)
    /// Something else is stored there than was expected.
    case conflict(record: String?)
    /// The store does not answer.
    case down
    /// Whether the command was carried out is not known.
    case unknown
}

extension StoreCommand: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        switch action {
        case .load: "load \(key)"
        case .lock(let owner, let ttl): "lock \(key) for \(owner), \(ttl) ms"
        case .save(_, _, let ttl, let unlock): "save \(key), \(ttl) ms\(unlock ? ", unlock" : "")"
        case .delete: "delete \(key)"
        }
    }

    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["key": key], displayStyle: .struct) }
}

extension StoreResult: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        switch self {
        case .ok: "ok"
        case .missing: "missing"
        case .found: "found"
        case .locked(_, let fence): "locked, fence \(fence)"
        case .held(let retryIn): "held, retry in \(retryIn)"
        case .conflict: "conflict"
        case .down: "down"
        case .unknown: "unknown"
        }
    }

    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension StoreCommand {
    init(key: String, _ command: RemintCore.StoreCommand) {
        self.key = key
        action =
            switch command {
            case .load: .load
            case .lock(let owner, let ttl): .lock(owner: owner, ttl: ttl)
            case .save(let expect, let record, let ttl, let unlock):
                .save(expect: expect?.expose(), record: record.expose(), ttl: ttl, unlock: unlock)
            case .delete: .delete
            }
    }
}

extension RemintCore.StoreResult {
    init(_ result: StoreResult, boot: Int64) {
        self =
            switch result {
            case .ok: .ok
            case .missing: .missing
            case .found(let record): .found(record: Secret(record))
            case .locked(let record, let fence): .locked(record: record.map { Secret($0) }, fence: fence)
            case .held(let retryIn): .held(retryAt: boot.addingClamped(retryIn.milliseconds))
            case .conflict(let record): .conflict(record: record.map { Secret($0) })
            case .down: .down
            case .unknown: .unknown
            }
    }
}
