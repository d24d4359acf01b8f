import Foundation

#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A ``Store`` in a folder, shared by the processes of one machine in any of Remint's languages.
///
/// Each record has a folder of its own with its versions, of which the highest counts. A version is written whole, forced
/// onto the disk, and then linked to its name, which fails where somebody else was faster; so a crash or a power cut in
/// mid-write leaves nothing that is read. The file system must have hard links.
///
/// Records that others write are noticed within half a second, unless the policy's `store_check` says otherwise.
public struct FileStore: Store {
    private let folder: String

    /// A store in this folder, which is made if it is missing, for its owner alone.
    ///
    /// - Throws: ``RemintError`` with the code `invalid_option` if it can't be made, is no folder, or others may write to it.
    public init(_ folder: String) throws {
        self.folder = folder
        let refused = { (what: String) in RemintError.misuse("the store's folder `\(folder)` \(what)") }
        var found = stat()
        if stat(folder, &found) != 0 {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch {
                throw refused("can't be made: \(error.localizedDescription)")
            }
            guard stat(folder, &found) == 0 else {
                throw refused("can't be looked at: \(failure().localizedDescription)")
            }
        }
        guard found.st_mode & S_IFMT == S_IFDIR else { throw refused("is no folder") }
        guard found.st_mode & 0o022 == 0 else {
            throw refused("may be written by others, who could put tokens there: run chmod 700 on it")
        }
    }

    public func load(_ key: String) async throws -> String? {
        let record = try record(key)
        return try await aside { try down { try record.read().state.record } }
    }

    public func lock(_ key: String, owner: String, ttl: Duration) async throws -> StoreLock {
        try await change(key) { state, now, _ in
            var next = state
            if ttl == .zero {
                let isOurs = state.lease?.owner == owner
                next.lease = nil
                return (.locked(record: state.record), isOurs ? next : nil)
            }
            if let lease = state.lease, lease.owner != owner, lease.until > now {
                return (.held(retryIn: .milliseconds(lease.until - now), record: state.record), nil)
            }
            let until = now.addingClamped(ttl.milliseconds)
            next.expires = max(next.expires, until)
            next.lease = Lease(owner: owner, until: until)
            return (.locked(record: state.record), next)
        }
    }

    public func save(_ key: String, expect: String?, record: String, ttl: Duration, unlock: String?) async throws
        -> StoreSave
    {
        try await change(key) { state, now, wasThere in
            // What seemed too late may have counted, and been taken on from there.
            if wasThere, state.record == record { return (.saved, nil) }
            guard state.record == expect else { return (.conflict(record: state.record), nil) }
            let lease = state.lease.flatMap { $0.owner == unlock ? nil : $0 }
            return (.saved, State(expires: now.addingClamped(ttl.milliseconds), lease: lease, record: record))
        }
    }

    public var checkEvery: Duration? { .milliseconds(500) }

    private func record(_ key: String) throws -> Record {
        // A name that leads elsewhere is none.
        let isName =
            key.utf8.count == 43 && key.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) }
        guard isName else { throw StoreDown(RemintError.misuse("this is no record's name")) }
        return Record(folder: folder + "/" + key)
    }

    /// Reads, decides and writes, all at once: if somebody else is faster, again from the start. `decide` is told whether
    /// what it said before was there for a while.
    private func change<Answer: Sendable>(
        _ key: String, _ decide: @escaping @Sendable (State, _ now: Int64, _ wasThere: Bool) -> (Answer, State?)
    ) async throws -> Answer {
        let record = try record(key)
        return try await aside {
            var wasThere = false
            for _ in 0..<tries {
                let (version, state) = try down { try record.read() }
                let (answer, next) = decide(state, SystemOrTestClock.systemWall(), wasThere)
                guard let next else { return answer }
                switch try record.write(version + 1, next) {
                case .counts: return answer
                case .tooLate: wasThere = true
                case .not: break
                }
                usleep(.random(in: 0..<4_096))
            }
            throw StoreDown(POSIXError(.EBUSY))
        }
    }
}

/// How often a change is tried while others are faster, and a version that vanishes is looked for.
private let tries = 100
/// How many versions are kept. A name is free again only when so many came after it: who is late sees that.
private let kept: UInt64 = 16
/// Digits of a version's name.
private let digits = 16
/// What the names of those begin with that are not yet versions.
private let unfinished = ".tmp-"
/// After so many seconds, whoever wrote one of them does so no more.
private let abandoned: TimeInterval = 3_600
/// For how long a version that is no JSON is kept: thirty days, in milliseconds.
private let damaged: Int64 = 2_592_000_000

/// One version.
private struct State: Codable, Sendable {
    /// When the record has run out: Unix time in milliseconds.
    var expires: Int64 = 0
    var lease: Lease?
    var record: String?

    /// All members are there, those without a value as `null`.
    func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(expires, forKey: .expires)
        try members.encode(lease, forKey: .lease)
        try members.encode(record, forKey: .record)
    }
}

private struct Lease: Codable, Sendable {
    var owner: String
    /// Unix time in milliseconds.
    var until: Int64
}

/// What became of a version.
private enum Written {
    case counts
    /// So many versions came after it that its name may have been free again when it got it.
    case tooLate
    /// Somebody else was faster.
    case not
}

/// One record's folder.
private struct Record: Sendable {
    let folder: String

    /// The version that counts, and what is in it; zero if there is none.
    func read() throws -> (version: UInt64, state: State) {
        let now = SystemOrTestClock.systemWall()
        for _ in 0..<tries {
            guard let version = try highest() else { return (0, State()) }
            // If it is gone, somebody wrote the next one.
            guard let bytes = try contents(path(version)) else { continue }
            var state =
                (try? JSONDecoder().decode(State.self, from: bytes))
                ?? State(expires: now.addingClamped(damaged), record: String(decoding: bytes, as: UTF8.self))
            if state.expires <= now { state.record = nil }
            return (version, state)
        }
        throw POSIXError(.EBUSY)
    }

    /// Tries to make this the version of that number.
    func write(_ version: UInt64, _ state: State) throws -> Written {
        let mine = "\(folder)/\(unfinished)\(UUID().uuidString)"
        let isLinked = try down {
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw failure() }
            // What is left of it is cleared away later.
            defer { unlink(mine) }
            try put(mine, JSONEncoder().encode(state))
            if link(mine, path(version)) == 0 { return true }
            guard errno == EEXIST else { throw failure() }
            return false
        }
        guard isLinked else { return .not }
        // The version is there, but perhaps not for ever.
        let versions = try versions()
        if versions.contains(where: { $0 >= version + kept }) {
            unlink(path(version))
            return .tooLate
        }
        try force(folder)
        clear(versions.filter { $0 + kept <= version })
        return .counts
    }

    private func highest() throws -> UInt64? {
        // A listing is no snapshot: one that shows nothing may have missed a version between two places.
        for _ in 0..<2 {
            if access(folder, F_OK) != 0, errno == ENOENT { return nil }
            if let highest = try versions().max() { return highest }
        }
        return nil
    }

    private func versions() throws -> [UInt64] {
        try names().compactMap { name in
            name.utf8.count == digits && name.utf8.allSatisfy { (48...57).contains($0) } ? UInt64(name) : nil
        }
    }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder)
    }

    /// Removes old versions, and what others left unfinished.
    private func clear(_ old: [UInt64]) {
        for version in old { unlink(path(version)) }
        for name in (try? names()) ?? [] where name.hasPrefix(unfinished) {
            var found = stat()
            guard stat("\(folder)/\(name)", &found) == 0 else { continue }
            #if canImport(Darwin)
                let modified = found.st_mtimespec.tv_sec
            #else
                let modified = found.st_mtim.tv_sec
            #endif
            if Date().timeIntervalSince1970 - TimeInterval(modified) > abandoned { unlink("\(folder)/\(name)") }
        }
    }

    private func path(_ version: UInt64) -> String {
        let number = String(version)
        return "\(folder)/" + String(repeating: "0", count: max(0, digits - number.count)) + number
    }
}

/// Runs what blocks where it may.
private func aside<Answer: Sendable>(_ work: @escaping @Sendable () throws -> Answer) async throws -> Answer {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Result(catching: work)) }
    }
}

/// An error in here means that nothing was written.
private func down<Answer>(_ work: () throws -> Answer) throws -> Answer {
    do { return try work() } catch { throw StoreDown(error) }
}

/// What a file holds, if it is there.
private func contents(_ path: String) throws -> Data? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
        if errno == ENOENT { return nil }
        throw failure()
    }
    let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
    return try handle.readToEnd() ?? Data()
}

/// Writes a file for its owner alone, and has it reach the disk.
private func put(_ path: String, _ text: Data) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw failure() }
    let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
    try handle.write(contentsOf: text)
    try handle.synchronize()
}

/// Has a folder's list of names reach the disk.
private func force(_ folder: String) throws {
    let file = open(folder, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw failure() }
    defer { close(file) }
    guard fsync(file) == 0 else { throw failure() }
}

/// What the last system call says.
private func failure() -> POSIXError {
    POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
}
